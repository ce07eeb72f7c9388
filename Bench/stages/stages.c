// Times kernels with one stage left out, to show what each stage costs; see variants.inc and Docs/Benchmarks.md.
#include <math.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include "ck_cpu.h"
#include "data.h"
#include "support/isa.h"

// Built over the models of the instructions: results can be checked on any machine.
#ifndef STAGE_MODELS
#define STAGE_MODELS 0
#else
#include "model_fault.h"
#endif

static const char usage[] = "stages [--isa amx|avx2] [--dense] [--candidates] [--only NAME,...] [--m 1,8,16,32] [--threads N]\n"
                            "       [--shape NxK] [--density D] [--mb COLD_MB] [--rounds N] [--check]\n";

#define VARIANT(set, name, flags, panels, knobs) extern stage_run stage_##set##_##name;
#include "variants.inc"
#undef VARIANT

typedef struct {
    const char *set, *name;
    int flags;
    size_t panels;
    stage_run *run;
} variant;

#define VARIANT(set, name, flags, panels, knobs) {#set, #name, flags, panels, stage_##set##_##name},
static const variant variants[] = {
#include "variants.inc"
};
#undef VARIANT

enum { MOST_VARIANTS = 64, MOST_MS = 16, MOST_ROUNDS = 1000, MOST_CPUS = 1024 };

typedef struct {
    const char *isa, *only;
    bool dense, candidates, check_alone;
    size_t ms[MOST_MS], m_count, threads, n, k, cold_mb, rounds;
    double density;
} options;

static options read_options(int argc, char **argv) {
    options o = {
        .isa = "amx", .ms = {1, 8, 16, 32}, .m_count = 4, .n = 14336, .k = 4096, .cold_mb = 1100, .rounds = 31, .density = 0.5};
    for (int i = 1; i < argc; i++) {
        const char *name = argv[i];
        if (!strcmp(name, "--dense")) {
            o.dense = true;
            continue;
        }
        if (!strcmp(name, "--candidates")) {
            o.candidates = true;
            continue;
        }
        if (!strcmp(name, "--check")) {
            o.check_alone = true;
            continue;
        }
        const char *value = i + 1 < argc ? argv[++i] : NULL;
        if (!value) {
            fputs(usage, stderr);
            exit(2);
        }
        if (!strcmp(name, "--isa")) o.isa = value;
        else if (!strcmp(name, "--only")) o.only = value;
        else if (!strcmp(name, "--threads")) o.threads = strtoul(value, NULL, 10);
        else if (!strcmp(name, "--density")) o.density = strtod(value, NULL);
        else if (!strcmp(name, "--mb")) o.cold_mb = strtoul(value, NULL, 10);
        else if (!strcmp(name, "--rounds")) o.rounds = strtoul(value, NULL, 10);
        else if (!strcmp(name, "--shape") && sscanf(value, "%zux%zu", &o.n, &o.k) == 2) continue;
        else if (!strcmp(name, "--m")) {
            char *end = (char *)value;
            for (o.m_count = 0; o.m_count < MOST_MS && *end; end += *end == ',') o.ms[o.m_count++] = strtoul(end, &end, 10);
        } else {
            fputs(usage, stderr);
            exit(2);
        }
    }
    bool fits = o.n > 0 && o.k > 0 && o.k <= 32768 && o.rounds > 0 && o.rounds <= MOST_ROUNDS && o.density > 0 && o.density <= 1;
    for (size_t i = 0; i < o.m_count; i++) fits = fits && o.ms[i] > 0 && o.ms[i] <= 512;
    if (!fits || o.m_count == 0) stage_die("k is at most 32768, M at most 512, rounds at most %d", MOST_ROUNDS);
    for (size_t i = 0; o.candidates && i < o.m_count; i++)
        if (o.ms[i] > 32) stage_die("candidates compute M up to 32, not %zu", o.ms[i]);
    return o;
}

static bool listed(const char *list, const char *name) {
    const size_t length = strlen(name);
    for (const char *at = list; (at = strstr(at, name)); at += length)
        if ((at == list || at[-1] == ',') && (at[length] == ',' || !at[length])) return true;
    return false;
}

// A set's first variant is always taken: the others are compared with it.
static size_t choose(const options *o, variant *chosen) {
    char set[32], candidates[32];
    snprintf(set, sizeof set, "%s_%s", o->dense ? "dense" : "bitmap", o->isa);
    snprintf(candidates, sizeof candidates, "candidate_%s", o->isa);
    size_t count = 0;
    for (size_t i = 0; i < sizeof variants / sizeof *variants; i++) {
        const variant *v = &variants[i];
        const bool candidate = !strcmp(v->set, candidates) && o->candidates && !o->dense;
        const bool stage = !strcmp(v->set, set) && (!o->candidates || count == 0 || o->only);
        if ((stage || candidate) && (!o->only || count == 0 || listed(o->only, v->name))) chosen[count++] = *v;
    }
    if (count == 0) stage_die("no kernels in the set %s", set);
    return count;
}

// One run of one variant. Chunks of a share are taken in order by the thread that it belongs to, then by those that are done with
// theirs, as Executor does it.
typedef struct {
    _Alignas(128) atomic_size_t next;
} share_state;

typedef struct {
    const stage_data *data;
    const variant *variant;
    const stage_weights *weights;
    ck_gemm_call call;
    size_t chunks;
    share_state *shares;
} running;

static void run_chunk(const running *job, size_t worker, size_t chunk) {
    const size_t panels = ck_panels(job->data->n), begin = chunk * job->variant->panels, end = begin + job->variant->panels;
    job->variant->run(&job->call, job->weights, begin, end < panels ? end : panels,
                      job->data->scratch + worker * STAGE_SCRATCH_BYTES);
}

static void run_share(void *context, size_t part, size_t worker) {
    const running *job = context;
    const size_t shares = job->data->threads;
    for (size_t i = 0; i < shares; i++) {
        const size_t share = (part + i) % shares, begin = job->chunks * share / shares;
        const size_t end = job->chunks * (share + 1) / shares;
        if (job->variant->flags & STAGE_HOT) {
            for (size_t chunk = begin; chunk < end; chunk++) run_chunk(job, worker, begin);
            return;
        }
        for (size_t taken; begin + (taken = atomic_fetch_add(&job->shares[share].next, 1)) < end;)
            run_chunk(job, worker, begin + taken);
    }
}

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

// Seconds of one run with the next cold copy.
static double run_once(stage_data *data, const variant *v, size_t rows, share_state *shares) {
    static size_t copy;
    if (!(v->flags & STAGE_KEPT_X)) stage_data_renew_x(data, rows);
    const size_t at = v->flags & STAGE_HOT ? 0 : copy++ % data->copies;
    running job = {.data = data, .variant = v, .weights = &data->weights[at], .shares = shares};
    job.call = stage_data_call(data, rows, v->flags & STAGE_X_TILES);
    job.chunks = (ck_panels(data->n) + v->panels - 1) / v->panels;
    for (int repeat = v->flags & STAGE_HOT ? 1 : 0; repeat > 0; repeat--) ck_pool_run(data->pool, data->threads, run_share, &job);
    for (size_t i = 0; i < data->threads; i++) atomic_store(&shares[i].next, 0);
    const double begin = now();
    ck_pool_run(data->pool, data->threads, run_share, &job);
    return now() - begin;
}

static bool check(stage_data *data, const variant *chosen, size_t count, size_t rows, share_state *shares, bool dense) {
    bool right = true;
    const size_t bytes = rows * data->y_stride * sizeof(float);
    for (size_t i = 0; i < count; i++) {
        if (!(chosen[i].flags & STAGE_EXACT)) continue;
        memset(data->y, 0xFF, bytes);
        stage_data_renew_x(data, rows);  // also for those that keep it
        run_once(data, &chosen[i], rows, shares);
#if STAGE_MODELS
        // Of this thread; with --threads 1 that is all of them.
        const char *fault = ck_model_take_fault();
        if (fault) printf("%s, M=%zu: a processor would fault: %s\n", chosen[i].name, rows, fault), right = false;
#endif
        if (i == 0) {
            right = stage_check(data, rows, chosen[i].name, dense) && right;
            memcpy(data->y_wanted, data->y, bytes);
        } else if (memcmp(data->y_wanted, data->y, bytes)) {
            printf("%s, M=%zu: bits differ from those of %s\n", chosen[i].name, rows, chosen[0].name);
            right = false;
        }
    }
    return right;
}

static int ascending(const void *a, const void *b) {
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double seconds[MOST_VARIANTS][MOST_ROUNDS];
static double medians[MOST_VARIANTS][MOST_MS];

static void measure(stage_data *data, const options *o, const variant *chosen, size_t count, size_t m, share_state *shares) {
    for (size_t i = 0; i < count; i++) run_once(data, &chosen[i], o->ms[m], shares);
    for (size_t round = 0; round < o->rounds; round++)
        for (size_t i = 0; i < count; i++) seconds[i][round] = run_once(data, &chosen[i], o->ms[m], shares);
    for (size_t i = 0; i < count; i++) {
        qsort(seconds[i], o->rounds, sizeof(double), ascending);
        medians[i][m] = seconds[i][o->rounds / 2];
    }
}

static void print_table(const stage_data *data, const options *o, const variant *chosen, size_t count, double tsc_hz) {
    const double tiles = (double)ck_panels(data->n) * (double)(ck_k_padded(data->k, CK_BF16) / 32);
    printf("%-18s %4s %9s %9s %9s %7s %9s %9s\n", "variant", "M", "us", "ns/tile", "cyc/32w", "GB/s", "x full", "x first M");
    for (size_t i = 0; i < count; i++)
        for (size_t m = 0; m < o->m_count; m++) {
            const double s = medians[i][m], tile = s * (double)data->threads / tiles;
            printf("%-18s %4zu %9.1f %9.2f %9.2f ", chosen[i].name, o->ms[m], 1e6 * s, 1e9 * tile, tile * tsc_hz / 16);
            if (chosen[i].flags & STAGE_HOT) printf("%7s", "-");
            else printf("%7.1f", (double)data->bytes / s * 1e-9);
            printf(" %9.3f %9.3f\n", s / medians[0][m], s / medians[i][0]);
        }
}

// Seconds since the first call over the cycles of the time stamp counter since then.
static double tsc_rate(void) {
    static double begin;
    static unsigned long long cycles;
    if (begin == 0) begin = now(), cycles = __builtin_readcyclecounter();
    const double passed = now() - begin;
    return passed > 0 ? (double)(__builtin_readcyclecounter() - cycles) / passed : 0;
}

static ck_pool *make_pool(size_t *threads) {
    static int32_t cpus[MOST_CPUS];
    const size_t allowed = ck_cpu_allowed(cpus, MOST_CPUS);
    if (*threads == 0) *threads = allowed;
    if (*threads > allowed || *threads > MOST_CPUS) stage_die("%zu threads on %zu CPUs", *threads, allowed);
    cpu_set_t own;
    CPU_ZERO(&own);
    CPU_SET((size_t)cpus[0], &own);
    pthread_setaffinity_np(pthread_self(), sizeof own, &own);
    ck_pool *pool;
    const ck_pool_options options = {.threads = *threads, .cpus = cpus, .spin_us = 1000};
    if (ck_pool_create(&options, &pool) != CK_OK) stage_die("no pool of %zu threads", *threads);
    return pool;
}

static void require(const char *isa) {
    if (strcmp(isa, "amx") && strcmp(isa, "avx2")) stage_die("--isa is amx or avx2, not %s", isa);
    if (STAGE_MODELS) return;
    const ck_isa needs = !strcmp(isa, "amx") ? CK_NEEDS(amxbf16) : CK_NEEDS(avx2);
    if ((ck_isa_detect() & needs) == needs) return;
    const char *const why[] = {"no AMX here", "the system refuses AMX to this process", "the CPU lacks a part of what it needs"};
    fprintf(stderr, "stages: --isa %s cannot run: %s\n", isa, why[strcmp(isa, "amx") ? 2 : ck_amx_request()]);
    exit(2);
}

int main(int argc, char **argv) {
    const options o = read_options(argc, argv);
    require(o.isa);
    static variant chosen[MOST_VARIANTS];
    const size_t count = choose(&o, chosen);
    stage_data data = {.n = o.n, .k = o.k, .threads = o.threads, .density = o.dense ? 1 : o.density};
    data.pool = make_pool(&data.threads);
    tsc_rate();
    for (size_t i = 0; i < o.m_count; i++)
        if (o.ms[i] > data.most_rows) data.most_rows = o.ms[i];
    const double copy_bytes = (double)o.n * (double)o.k * (o.dense ? 2 : 2 * o.density + 0.125);
    data.copies = (size_t)(1e6 * (double)o.cold_mb / copy_bytes) + 1;
    stage_data_make(&data, o.dense);
    share_state *shares = aligned_alloc(128, data.threads * sizeof *shares);
    if (!shares) stage_die("no memory for %zu shares", data.threads);

    char brand[49];
    ck_cpu_brand(brand);
    printf("%s, %zu threads, %s %s %zux%zu, density %.2f, %zu copies of %.1f MB, %zu rounds\n", brand, data.threads,
           o.dense ? "dense" : "bitmap", o.isa, o.n, o.k, data.density, data.copies, (double)data.bytes * 1e-6, o.rounds);
    bool right = true;
    for (size_t m = 0; m < o.m_count; m++) right = check(&data, chosen, count, o.ms[m], shares, o.dense) && right;
    printf("check: %s\n", right ? "passed" : "FAILED");
    if (!right) return 1;
    if (o.check_alone) return 0;
    for (size_t m = 0; m < o.m_count; m++) measure(&data, &o, chosen, count, m, shares);
    print_table(&data, &o, chosen, count, tsc_rate());
    ck_pool_destroy(data.pool);
    return 0;
}
