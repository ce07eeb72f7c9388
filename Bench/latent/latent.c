// Times the scores of keys rebuilt from latents, whole and with stages left out, against those of a dense bf16 cache of the same
// tokens. The caches are cold: copies of them, one for each layer of a model so to say, are read in turn.
#include <math.h>
#include <pthread.h>
#include <sched.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include "ck_cpu.h"
#include "ck_pool.h"
#include "latent_stages.h"

#ifndef STAGE_MODELS
#define STAGE_MODELS 0
#else
#include "model_fault.h"
#endif

static const char usage[] =
    "latent [--model llama-3.1-8b|llama-2-7b] [--context 16384,65536] [--heads 1,4] [--kept 0.5] [--threads N]\n"
    "       [--isa amx|avx512|avx2] [--mb COLD_MB] [--rounds N] [--check]\n";

#define VARIANT(set, name, flags, knobs)                                                                                         \
    extern stage_run stage_##set##_##name;                                                                                       \
    extern stage_scratch stage_##set##_##name##_scratch;
#include "variants.inc"
#undef VARIANT

typedef struct {
    const char *set, *name;
    int flags;
    stage_run *run;
    stage_scratch *scratch;
} variant;

#define VARIANT(set, name, flags, knobs) {#set, #name, flags, stage_##set##_##name, stage_##set##_##name##_scratch},
static const variant variants[] = {
#include "variants.inc"
};
#undef VARIANT

enum { DIM = 128, MOST_VARIANTS = 64, MOST_ROUNDS = 1000, MOST_CPUS = 1024, MOST_LISTED = 8, SCRATCH_BYTES = 4 << 20 };

typedef struct {
    const char *model, *isa;
    size_t contexts[MOST_LISTED], context_count, groups[MOST_LISTED], group_count, threads, cold_mb, rounds;
    double kept;
    bool check_alone;
} options;

static void die(const char *format, ...) __attribute__((format(printf, 1, 2), noreturn));
static void die(const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    fputs("latent: ", stderr);
    vfprintf(stderr, format, arguments);
    fputc('\n', stderr);
    exit(2);
}

static size_t read_list(const char *text, size_t *list) {
    size_t count = 0;
    for (char *end = (char *)text; count < MOST_LISTED && *end; end += *end == ',') list[count++] = strtoul(end, &end, 10);
    return count;
}

static options read_options(int argc, char **argv) {
    options o = {.model = "llama-3.1-8b",
                 .isa = "amx",
                 .contexts = {16384, 65536},
                 .context_count = 2,
                 .groups = {1, 4},
                 .group_count = 2,
                 .cold_mb = 1500,
                 .rounds = 15,
                 .kept = 0.5};
    for (int i = 1; i < argc; i++) {
        const char *name = argv[i];
        if (!strcmp(name, "--check")) {
            o.check_alone = true;
            continue;
        }
        const char *value = i + 1 < argc ? argv[++i] : NULL;
        if (!value) die("%s", usage);
        if (!strcmp(name, "--model")) o.model = value;
        else if (!strcmp(name, "--isa")) o.isa = value;
        else if (!strcmp(name, "--context")) o.context_count = read_list(value, o.contexts);
        else if (!strcmp(name, "--heads")) o.group_count = read_list(value, o.groups);
        else if (!strcmp(name, "--threads")) o.threads = strtoul(value, NULL, 10);
        else if (!strcmp(name, "--mb")) o.cold_mb = strtoul(value, NULL, 10);
        else if (!strcmp(name, "--rounds")) o.rounds = strtoul(value, NULL, 10);
        else if (!strcmp(name, "--kept")) o.kept = strtod(value, NULL);
        else die("%s", usage);
    }
    if (o.rounds == 0 || o.rounds > MOST_ROUNDS || !(o.kept > 0 && o.kept <= 1)) die("%s", usage);
    return o;
}

static void *allocate(size_t bytes) {
    const size_t huge = 2 << 20, rounded = (bytes + huge - 1) / huge * huge;
    void *memory = aligned_alloc(huge, rounded);
    if (!memory) die("no memory for %zu bytes", bytes);
    madvise(memory, rounded, MADV_HUGEPAGE);
    return memory;
}

static float random_number(void) {
    static uint64_t state = 1;
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return (float)(int32_t)(state >> 32) * 0x1p-31f;
}

// A cache of `copies` x context tokens: [copy][64 tokens][head or group] parts.
typedef struct {
    ck_kv_type type;
    size_t dim, heads, context, copies, part_bytes;
    char *memory;
} cache;

static size_t copy_bytes(const cache *c) { return c->context / CK_KV_TOKENS * c->heads * c->part_bytes; }

typedef struct {
    cache *cache;
    size_t shares;
} filling;

// Touched first by the thread that will read it most.
static void fill_share(void *context, size_t part, size_t worker) {
    (void)worker;
    const filling *f = context;
    const size_t parts = f->cache->context / CK_KV_TOKENS * f->cache->heads;
    const char *first = f->cache->memory;
    for (size_t copy = 0; copy < f->cache->copies; copy++)
        for (size_t i = parts * part / f->shares; i < parts * (part + 1) / f->shares; i++) {
            char *target = f->cache->memory + copy * copy_bytes(f->cache) + i * f->cache->part_bytes;
            if (target != first) memcpy(target, first, f->cache->part_bytes);
        }
}

static cache make_cache(ck_pool *pool, size_t threads, ck_kv_type type, size_t dim, size_t heads, size_t context, size_t mb) {
    cache c = {.type = type, .dim = dim, .heads = heads, .context = context, .part_bytes = ck_kv_part_bytes(type, dim)};
    c.copies = (mb << 20) / copy_bytes(&c) + 1;
    c.memory = allocate(c.copies * copy_bytes(&c));
    float *row = allocate(dim * sizeof *row);
    for (size_t slot = 0; slot < CK_KV_TOKENS; slot++) {
        for (size_t i = 0; i < dim; i++) row[i] = random_number();
        ck_kv_write(type, dim, c.memory, slot, row);
    }
    free(row);
    filling f = {&c, threads};
    ck_pool_run(pool, threads, fill_share, &f);
    return c;
}

// The operands of one shape. Dense: no latent variant, `dense` is.
typedef struct {
    size_t threads;
    ck_pool *pool;
    const cache *cache;
    ck_latent_group group;
    ck_latent_angles angles;
    size_t head_rows;  // query rows of a head
    const float *queries;
    char *scratch;
    float *scores;  // [thread][rows of an item][CK_ATTENTION_CHUNK]
    const variant *variant;
    const ck_attention_keys_variant *dense;
    size_t copy;
    atomic_size_t *next;
} job;

static void run_item(const job *j, size_t worker, size_t item) {
    const cache *c = j->cache;
    const size_t chunk = item / c->heads, head = item % c->heads, rows = j->head_rows * (j->dense ? 1 : j->group.heads);
    const void *parts[CK_ATTENTION_CHUNK / CK_KV_TOKENS];
    const char *base = c->memory + j->copy * copy_bytes(c);
    for (size_t i = 0; i < CK_ATTENTION_CHUNK / CK_KV_TOKENS; i++)
        parts[i] = base + ((chunk * CK_ATTENTION_CHUNK / CK_KV_TOKENS + i) * c->heads + head) * c->part_bytes;
    const ck_kv_span span = {.parts = parts, .tokens = CK_ATTENTION_CHUNK, .dim = c->dim};
    const ck_attention_queries queries = {.rows = rows, .q = j->queries + head * rows * DIM, .stride = DIM};
    float *scores = j->scores + worker * MOST_LISTED * MOST_LISTED * CK_ATTENTION_CHUNK;
    char *scratch = j->scratch + worker * SCRATCH_BYTES;
    if (j->dense) {
        j->dense->run(&span, &queries, scores, CK_ATTENTION_CHUNK, scratch);
        return;
    }
    ck_latent_group group = j->group;
    group.b = (const char *)group.b + head * ck_latent_packed_bytes(&group);
    j->variant->run(&group, &j->angles, &span, &queries, scores, CK_ATTENTION_CHUNK, scratch);
}

static void run_share(void *context, size_t part, size_t worker) {
    const job *j = context;
    const size_t items = j->cache->context / CK_ATTENTION_CHUNK * j->cache->heads;
    for (size_t i = 0; i < j->threads; i++) {
        const size_t share = (part + i) % j->threads, begin = items * share / j->threads, end = items * (share + 1) / j->threads;
        if (j->variant && j->variant->flags & STAGE_HOT) {
            for (size_t item = begin; item < end; item++) run_item(j, worker, begin);
            return;
        }
        for (size_t taken; begin + (taken = atomic_fetch_add(&j->next[share * 16], 1)) < end;) run_item(j, worker, begin + taken);
    }
}

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static double run_once(job *j) {
    j->copy = (j->copy + 1) % j->cache->copies;
    for (size_t i = 0; i < j->threads; i++) atomic_store(&j->next[i * 16], 0);
    const double begin = now();
    ck_pool_run(j->pool, j->threads, run_share, j);
    return now() - begin;
}

static int ascending(const void *a, const void *b) {
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static bool check(job *j, const variant *chosen, size_t count) {
    size_t variant_count, n = j->head_rows * j->group.heads * CK_ATTENTION_CHUNK;
    const ck_latent_keys_variant *all = ck_latent_keys_variants(&variant_count);
    const variant scalar = {"latent", "scalar", STAGE_EXACT, all[variant_count - 1].run, all[variant_count - 1].scratch_bytes};
    float *wanted = allocate(n * sizeof *wanted);
    bool right = true;
    job one = *j;
    one.variant = &scalar;
    run_item(&one, 0, 0);
    memcpy(wanted, one.scores, n * sizeof *wanted);
    double largest = 0;
    for (size_t i = 0; i < n; i++) largest = fmax(largest, fabs((double)wanted[i]));
    for (size_t v = 0; v < count; v++) {
        if (!(chosen[v].flags & STAGE_EXACT)) continue;
        memset(one.scores, 0xFF, n * sizeof *wanted);
        one.variant = &chosen[v];
        run_item(&one, 0, 0);
        double worst = 0;
        for (size_t i = 0; i < n; i++)
            worst = fmax(worst, isnan(one.scores[i]) ? INFINITY : fabs((double)(one.scores[i] - wanted[i])));
#if STAGE_MODELS
        const char *fault = ck_model_take_fault();
        if (fault) printf("%s: a processor would fault: %s\n", chosen[v].name, fault), right = false;
#endif
        if (worst > 4e-3 * largest) printf("%s: off by %g of %g\n", chosen[v].name, worst, largest), right = false;
    }
    free(wanted);
    return right;
}

static ck_pool *make_pool(size_t *threads) {
    static int32_t cpus[MOST_CPUS];
    const size_t allowed = ck_cpu_allowed(cpus, MOST_CPUS);
    if (*threads == 0) *threads = allowed;
    if (*threads > allowed || *threads > MOST_CPUS) die("%zu threads on %zu CPUs", *threads, allowed);
    cpu_set_t own;
    CPU_ZERO(&own);
    CPU_SET((size_t)cpus[0], &own);
    pthread_setaffinity_np(pthread_self(), sizeof own, &own);
    ck_pool *pool;
    const ck_pool_options pool_options = {.threads = *threads, .cpus = cpus, .spin_us = 1000};
    if (ck_pool_create(&pool_options, &pool) != CK_OK) die("no pool of %zu threads", *threads);
    return pool;
}

static double seconds[MOST_VARIANTS][MOST_ROUNDS];

static double median(const options *o, size_t v) {
    qsort(seconds[v], o->rounds, sizeof(double), ascending);
    return seconds[v][o->rounds / 2];
}

static void print_row(const char *name, double s, double bytes, double tokens, size_t threads, double dense, bool hot) {
    printf("  %-24s %9.1f us %8.2f ns/token ", name, 1e6 * s, 1e9 * s * (double)threads / tokens);
    if (hot) printf("       - GB/s");
    else printf("%8.1f GB/s", bytes / s * 1e-9);
    printf("  x dense %5.2f\n", dense / s);
}

// One model, context and group: false where a kernel is wrong.
static bool shape(const options *o, job *j, size_t kv_heads, size_t context, size_t heads, const variant *chosen, size_t count) {
    const size_t rank = (size_t)(o->kept * (double)(heads * DIM) / 32 + 0.5) * 32;
    cache latents = make_cache(j->pool, j->threads, CK_KV_LATENT_BF16, rank, kv_heads / heads, context, o->cold_mb);
    j->cache = &latents;
    j->copy = 0;
    j->group = (ck_latent_group){.rank = rank, .dim = DIM, .heads = heads, .rotated = DIM};
    const size_t group_bytes = ck_latent_packed_bytes(&j->group);
    char *b = allocate(group_bytes * kv_heads / heads);
    float *w = allocate(heads * DIM * rank * sizeof *w);
    for (size_t g = 0; g < kv_heads / heads; g++) {
        for (size_t i = 0; i < heads * DIM * rank; i++) w[i] = random_number() / sqrtf((float)rank);
        ck_latent_pack(&j->group, w, rank, b + g * group_bytes);
    }
    j->group.b = b;
    printf("%s, %zu tokens, groups of %zu, rank %zu, %zu threads\n", o->model, context, heads, rank, j->threads);
    const bool right = check(j, chosen, count);
    if (right && !o->check_alone) {
        size_t dense_count, dense_at = MOST_VARIANTS;
        const ck_attention_keys_variant *dense = ck_attention_keys_variants(&dense_count);
        for (size_t i = dense_count; i-- > 0;)
            if (dense[i].type == CK_KV_BF16 && !(dense[i].isa & ~ck_isa_detect()) && dense[i].min_rows <= j->head_rows)
                dense_at = i;
        cache keys = make_cache(j->pool, j->threads, CK_KV_BF16, DIM, kv_heads, context, o->cold_mb);
        job plain = *j;
        plain.cache = &keys;
        plain.dense = dense + dense_at;
        plain.variant = NULL;
        for (size_t round = 0; round <= o->rounds; round++) {
            const size_t at = round == 0 ? 0 : round - 1;  // the first is repeated
            for (size_t v = 0; v < count; v++) {
                j->variant = &chosen[v];
                seconds[v][at] = run_once(j);
            }
            seconds[count][at] = run_once(&plain);
        }
        const double tokens = (double)context * (double)kv_heads, reference = median(o, count);
        print_row(plain.dense->name, reference, (double)copy_bytes(&keys), tokens, j->threads, reference, false);
        for (size_t v = 0; v < count; v++)
            print_row(chosen[v].name, median(o, v), (double)copy_bytes(&latents), tokens, j->threads, reference,
                      chosen[v].flags & STAGE_HOT);
        free(keys.memory);
    }
    free(latents.memory);
    free(b);
    free(w);
    return right;
}

// Llama 2 turns by theta 10000; Llama 3.1 by 500000, pairs with long waves eight times slower and those between blended.
static void make_frequencies(bool llama2, double *frequencies) {
    for (size_t i = 0; i < DIM / 2; i++) {
        const double plain = pow(llama2 ? 10000 : 500000, -2.0 * (double)i / DIM), turns = 8192 * plain / (2 * 3.14159265358979);
        const double blend = fmin(fmax((turns - 1) / 3, 0), 1);
        frequencies[i] = llama2 ? plain : (1 - blend) * plain / 8 + blend * plain;
    }
}

int main(int argc, char **argv) {
    const options o = read_options(argc, argv);
    const bool llama2 = !strcmp(o.model, "llama-2-7b");
    if (!llama2 && strcmp(o.model, "llama-3.1-8b")) die("%s", usage);
    const size_t kv_heads = llama2 ? 32 : 8;
    char set[32];
    snprintf(set, sizeof set, "latent_%s", o.isa);
    static variant chosen[MOST_VARIANTS];
    size_t count = 0, variant_count;
    for (size_t i = 0; i < sizeof variants / sizeof *variants; i++)
        if (!strcmp(variants[i].set, set)) chosen[count++] = variants[i];
    if (count == 0) die("no kernels for %s", o.isa);
    const ck_latent_keys_variant *all = ck_latent_keys_variants(&variant_count);
    for (size_t i = 0; i < variant_count && !STAGE_MODELS; i++)
        if (strstr(all[i].name, o.isa) && all[i].isa & ~ck_isa_detect()) die("%s cannot run here", o.isa);

    job j = {.threads = o.threads};
    j.pool = make_pool(&j.threads);
    j.head_rows = llama2 ? 1 : 4;
    j.scratch = allocate(j.threads * SCRATCH_BYTES);
    j.scores = allocate(j.threads * MOST_LISTED * MOST_LISTED * CK_ATTENTION_CHUNK * sizeof(float));
    j.next = allocate(j.threads * 16 * sizeof *j.next);
    float *queries = allocate(32 * DIM * sizeof *queries);
    for (size_t i = 0; i < 32 * DIM; i++) queries[i] = random_number();
    j.queries = queries;
    double frequencies[DIM / 2];
    make_frequencies(llama2, frequencies);
    float *table = allocate(ck_latent_table_bytes(DIM)), *origin = allocate(ck_latent_origin_bytes(DIM));
    ck_latent_make_table(frequencies, DIM, DIM, table);
    ck_latent_make_origin(frequencies, DIM, DIM, 4096, origin);
    j.angles = (ck_latent_angles){table, origin, NULL};

    char brand[49];
    ck_cpu_brand(brand);
    printf("%s\n", brand);
    bool right = true;
    for (size_t c = 0; c < o.context_count; c++)
        for (size_t g = 0; g < o.group_count; g++) {
            if (o.contexts[c] % CK_ATTENTION_CHUNK || o.contexts[c] == 0) die("contexts are multiples of %u", CK_ATTENTION_CHUNK);
            if (o.groups[g] == 0 || o.groups[g] > 8 || kv_heads % o.groups[g]) die("%zu heads do not share latents", o.groups[g]);
            right = shape(&o, &j, kv_heads, o.contexts[c], o.groups[g], chosen, count) && right;
        }
    printf("check: %s\n", right ? "passed" : "FAILED");
    ck_pool_destroy(j.pool);
    return right ? 0 : 1;
}
