// The command line, the check, the timing loop and the report of the C peers (peer.h).

#define _GNU_SOURCE
#include <math.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "peer.h"

int read_bandwidth_passes(const void *buffer, size_t bytes, int threads, const int *cpus, int passes, double *seconds);

typedef struct {
    const char *op, *format, *variant;
    int64_t n, k, m;
    size_t bytes;
    int runs;
    double median, least, bandwidth, error, bound;
} row;

static struct {
    peer_options options;
    row *rows;
    int row_count, groups_left;
    int core_count;  // that this process may use
    double deadline;
    double *passes;  // seconds of every pass over the bandwidth buffer
    int pass_count;
    void *buffer;
    size_t buffer_bytes, cache_bytes;
    char notes[4096];
    bool wrong;
} bench;

static volatile sig_atomic_t interrupted;

static void interrupt(int number) {
    (void)number;
    interrupted = 1;
}

static double now_seconds(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

void peer_die(const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    vfprintf(stderr, format, arguments);
    va_end(arguments);
    fputc('\n', stderr);
    exit(2);
}

void peer_say(const char *format, ...) {
    FILE *out = bench.options.json && !strcmp(bench.options.json, "-") ? stderr : stdout;
    va_list arguments;
    va_start(arguments, format);
    vfprintf(out, format, arguments);
    va_end(arguments);
    fputc('\n', out);
    fflush(out);
}

void *peer_allocate(size_t bytes) {
    void *memory = aligned_alloc(64, (bytes + 63) / 64 * 64);
    if (!memory) peer_die("no memory for %zu bytes", bytes);
    return memory;
}

static void *grown(void *items, size_t count, size_t size) {
    void *larger = realloc(items, (count + 1) * size);
    if (!larger) peer_die("no memory for %zu items of %zu bytes", count + 1, size);
    return larger;
}

// --- The machine ----------------------------------------------------------------------------------------------------

static bool read_line(const char *path, char *line, size_t size) {
    FILE *file = fopen(path, "r");
    bool read = file && fgets(line, (int)size, file);
    if (file) fclose(file);
    if (read) line[strcspn(line, "\n")] = 0;
    return read;
}

// One CPU of each core that this process may use: a CPU counts if it is the first of its siblings that is allowed.
static int *allowed_cores(int *count) {
    cpu_set_t allowed;
    if (sched_getaffinity(0, sizeof allowed, &allowed)) peer_die("the system does not say which CPUs this process may use");
    int *cpus = peer_allocate(CPU_SETSIZE * sizeof *cpus);
    *count = 0;
    for (int cpu = 0; cpu < CPU_SETSIZE; cpu++) {
        if (!CPU_ISSET((unsigned)cpu, &allowed)) continue;
        char path[128], line[1024];
        snprintf(path, sizeof path, "/sys/devices/system/cpu/cpu%d/topology/thread_siblings_list", cpu);
        int first_allowed = cpu;
        for (char *p = read_line(path, line, sizeof line) ? line : NULL; p && *p; p += *p == ',') {
            int first = (int)strtol(p, &p, 10), last = *p == '-' ? (int)strtol(p + 1, &p, 10) : first;
            for (int sibling = first; sibling <= last && sibling < first_allowed; sibling++)
                if (CPU_ISSET((unsigned)sibling, &allowed)) first_allowed = sibling;
        }
        if (first_allowed == cpu) cpus[(*count)++] = cpu;
    }
    return cpus;
}

// The last-level caches of these CPUs together; caches that CPUs share count once.
static size_t cache_bytes(const int *cpus, int count) {
    char (*seen)[256] = peer_allocate((size_t)count * sizeof *seen);
    size_t total = 0;
    int caches = 0;
    for (int c = 0; c < count; c++) {
        char path[128], line[256], shared[256] = "";
        size_t bytes = 0;
        for (int index = 0; index < 8; index++) {  // the system lists caches from the first level to the last
            snprintf(path, sizeof path, "/sys/devices/system/cpu/cpu%d/cache/index%d/size", cpus[c], index);
            if (!read_line(path, line, sizeof line)) break;
            char *unit;
            bytes = strtoull(line, &unit, 10) << (*unit == 'K' ? 10 : *unit == 'M' ? 20 : 0);
            snprintf(path, sizeof path, "/sys/devices/system/cpu/cpu%d/cache/index%d/shared_cpu_list", cpus[c], index);
            read_line(path, shared, sizeof shared);
        }
        bool counted = false;
        for (int i = 0; i < caches; i++) counted |= !strcmp(seen[i], shared);
        if (counted) continue;
        memcpy(seen[caches++], shared, sizeof shared);
        total += bytes;
    }
    free(seen);
    return total;
}

// --- The command line -----------------------------------------------------------------------------------------------

static void add_shape(long long n, long long k) {
    peer_options *o = &bench.options;
    for (int i = 0; i < o->shape_count; i++)
        if (o->shapes[i].n == n && o->shapes[i].k == k) return;
    o->shapes = grown(o->shapes, (size_t)o->shape_count, sizeof *o->shapes);
    o->shapes[o->shape_count++] = (peer_shape){n, k};
}

static bool add_preset(const char *folder, const char *name) {
    char path[1024], line[512];
    snprintf(path, sizeof path, "%s/%s.txt", folder, name);
    FILE *file = fopen(path, "r");
    if (!file) return false;
    long long n, k;
    while (fgets(line, sizeof line, file))
        if (line[0] != '#' && sscanf(line, "%*s %lld %lld", &n, &k) == 2) add_shape(n, k);
    fclose(file);
    return true;
}

static void parse_shapes(char *text, const char *folder) {
    for (char *item = strtok(text, ","); item; item = strtok(NULL, ",")) {
        long long n, k;
        char rest;
        if (sscanf(item, "%lldx%lld%c", &n, &k, &rest) == 2 && n > 0 && k > 0) add_shape(n, k);
        else if (!add_preset(folder, item)) peer_die("--shape %s: neither NxK nor a preset in %s", item, folder);
    }
}

static void parse_ms(char *text) {
    peer_options *o = &bench.options;
    for (char *item = strtok(text, ","); item; item = strtok(NULL, ",")) {
        char *end;
        long long m = strtoll(item, &end, 10);
        if (m < 1 || *end) peer_die("--m %s: whole numbers above 0, separated by commas", item);
        o->ms = grown(o->ms, (size_t)o->m_count, sizeof *o->ms);
        o->ms[o->m_count++] = m;
    }
}

static double number(const char *option, const char *text, double least) {
    char *end;
    double value = strtod(text, &end);
    if (end == text || *end || !(value >= least)) peer_die("%s %s: a number of at least %g", option, text, least);
    return value;
}

static const char settled[] = "TESSERA_PEER_CPUS";

static const char usage[] =
    "options: --shape NxK,PRESET  --m 1,4,16  --threads N (0: all cores)  --bytes N (total of a variant's copies)\n"
    "         --min-runs N  --min-time S  --budget S  --density D  --only VARIANT,...  --shapes FOLDER  --json FILE|-";

// Starts the program once more with what must be known before OpenMP and the C library load. The CPUs travel in the
// environment, because OpenMP pins the first thread at once and hides the others.
static void settle(char **argv, const int *cpus, int threads, int cores) {
    char count[16], list[8192];
    snprintf(list, sizeof list, "%d:", cores);
    cpu_set_t set;
    CPU_ZERO(&set);
    for (int t = 0; t < threads; t++) {
        size_t used = strlen(list);
        snprintf(list + used, sizeof list - used, "%d,", cpus[t]);
        CPU_SET((unsigned)cpus[t], &set);
    }
    sched_setaffinity(0, sizeof set, &set);
    snprintf(count, sizeof count, "%d", threads);
    setenv(settled, list, 1);
    setenv("OMP_NUM_THREADS", count, 1);
    setenv("OMP_PROC_BIND", "close", 0);
    setenv("OMP_PLACES", "cores", 0);
    setenv("GLIBC_TUNABLES", "glibc.malloc.hugetlb=1", 0);
    execv("/proc/self/exe", argv);
    peer_die("this program could not start once more");
}

static int *settled_cores(const char *list, int *count) {
    int *cpus = peer_allocate(CPU_SETSIZE * sizeof *cpus);
    char *p;
    bench.core_count = (int)strtol(list, &p, 10);
    *count = 0;
    for (p += *p == ':'; *p && *count < CPU_SETSIZE; p += *p == ',') cpus[(*count)++] = (int)strtol(p, &p, 10);
    return cpus;
}

peer_options peer_start(int argc, char **argv, const char *implementation, const char *version, const char *isa) {
    peer_options *o = &bench.options;
    char shapes[4096] = "llama-3.1-8b", ms[512] = "1,4,8,16,32,512";
    const char *folder = "Bench/shapes";
    double budget = 600, threads = 0, bytes = 0;
    *o = (peer_options){implementation, version, isa, .min_seconds = 0.3, .min_runs = 30, .density = 0.5};
    for (int i = 1; i < argc; i += 2) {
        const char *option = argv[i], *value = i + 1 < argc ? argv[i + 1] : NULL;
        if (!value) peer_die("%s\n%s", option, usage);
        if (!strcmp(option, "--shape")) snprintf(shapes, sizeof shapes, "%s", value);
        else if (!strcmp(option, "--m")) snprintf(ms, sizeof ms, "%s", value);
        else if (!strcmp(option, "--threads")) threads = number(option, value, 0);
        else if (!strcmp(option, "--bytes")) bytes = number(option, value, 1);
        else if (!strcmp(option, "--min-runs")) o->min_runs = (int)number(option, value, 1);
        else if (!strcmp(option, "--min-time")) o->min_seconds = number(option, value, 0);
        else if (!strcmp(option, "--budget")) budget = number(option, value, 0);
        else if (!strcmp(option, "--density")) o->density = number(option, value, 0);
        else if (!strcmp(option, "--only")) o->only = value;
        else if (!strcmp(option, "--shapes")) folder = value;
        else if (!strcmp(option, "--json")) o->json = value;
        else peer_die("%s: no such option\n%s", option, usage);
    }
    parse_shapes(shapes, folder);
    parse_ms(ms);
    int cores;
    const char *list = getenv(settled);
    int *cpus = list ? settled_cores(list, &cores) : allowed_cores(&cores);
    if (threads > cores) peer_die("--threads %g: this process may use %d cores", threads, cores);
    o->threads = threads ? (int)threads : cores;
    o->cpus = cpus;
    if (!list) settle(argv, cpus, o->threads, cores);
    bench.cache_bytes = cache_bytes(cpus, o->threads);
    bench.buffer_bytes = 3 * bench.cache_bytes > (256u << 20) ? 3 * bench.cache_bytes : 256u << 20;
    o->cold_bytes = bytes ? (size_t)bytes : bench.buffer_bytes;
    bench.buffer = peer_allocate(bench.buffer_bytes);
    memset(bench.buffer, 1, bench.buffer_bytes);
    bench.groups_left = o->shape_count * o->m_count;
    bench.deadline = now_seconds() + budget;
    signal(SIGTERM, interrupt);
    signal(SIGINT, interrupt);
    return *o;
}

bool peer_wants(const char *variant) {
    size_t length = strlen(variant);
    for (const char *p = bench.options.only; p && (p = strstr(p, variant)); p += length)
        if ((p == bench.options.only || p[-1] == ',') && (!p[length] || p[length] == ',')) return true;
    return !bench.options.only;
}

void peer_note(const char *key, const char *value) {
    char quoted[128];
    snprintf(quoted, sizeof quoted, "\"%s\":", key);
    if (strstr(bench.notes, quoted)) return;
    size_t used = strlen(bench.notes);
    snprintf(bench.notes + used, sizeof bench.notes - used, ", \"%s\": \"%s\"", key, value);
}

// --- The matrices and the check -------------------------------------------------------------------------------------

static uint64_t mixed(uint64_t i) {  // the finaliser of splitmix64
    i = (i + 0x9e3779b97f4a7c15u) * 0xbf58476d1ce4e5b9u;
    i = (i ^ i >> 27) * 0x94d049bb133111ebu;
    return i ^ i >> 31;
}

int8_t peer_code(uint64_t i) { return (int8_t)((int)((mixed(i) >> 32) * 255 >> 32) - 127); }

bool peer_keeps(uint64_t i, double density) { return (double)(mixed(i ^ 0x5bd1e995u) >> 11) * 0x1p-53 < density; }

uint16_t peer_bf16(float value) {
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    return (uint16_t)((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

int peer_copies(const peer_options *options, size_t bytes) { return (int)((options->cold_bytes + bytes - 1) / bytes); }

// Compares one output with its exact sum; keeps the error and the bound of the output that comes nearest to its bound.
static void check_output(peer_contender *c, double y, const float *w, int64_t k, int64_t input, double *worst) {
    double sum = 0, magnitude = 1e-30, weights = 0;
    for (int64_t i = 0; i < k; i++) {
        double x = peer_code(~(uint64_t)(input * k + i)) * (double)PEER_INPUT_SCALE;
        sum += x * w[i];
        magnitude += fabs(x * w[i]);
        weights += fabs(w[i]);
    }
    double bound = c->slack.magnitude * magnitude + c->slack.result * fabs(y) + c->slack.weights * weights;
    double error = isfinite(y) ? fabs(y - sum) : INFINITY;
    if (error / bound <= *worst) return;
    *worst = error / bound;
    c->error = error / magnitude;
    c->bound = bound / magnitude;
}

bool peer_check(peer_contender *c, int64_t n, int64_t k, int64_t m) {
    enum { most_rows = 48, most_inputs = 6 };
    int64_t rows = n < most_rows ? n : most_rows, inputs = m < most_inputs ? m : most_inputs;
    float *w = peer_allocate((size_t)k * sizeof *w);
    double worst = -1;
    for (int copy = 0; copy < c->copies; copy += c->copies > 1 ? c->copies - 1 : 1) {
        c->run(c->state, copy);
        const float *y = c->output(c->state);
        for (int64_t r = 0; r < rows; r++) {
            int64_t output = rows > 1 ? r * (n - 1) / (rows - 1) : 0;
            c->weights(c->state, output, w);
            for (int64_t j = 0; j < inputs; j++) {
                int64_t input = inputs > 1 ? j * (m - 1) / (inputs - 1) : 0;
                check_output(c, y[input * n + output], w, k, input, &worst);
            }
        }
    }
    free(w);
    if (worst <= 1) return true;
    bench.wrong = true;
    peer_say("WRONG: %s %lldx%lld M=%lld: error %.3g of sum |x||w| is above its bound %.3g; not timed", c->variant, (long long)n,
             (long long)k, (long long)m, c->error, c->bound);
    return false;
}

// --- The timing -----------------------------------------------------------------------------------------------------

static int ascending(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double median(double *values, int count) {
    qsort(values, (size_t)count, sizeof *values, ascending);
    return count % 2 ? values[count / 2] : (values[count / 2 - 1] + values[count / 2]) / 2;
}

// The best of a few passes, in bytes per second; all passes are kept for the report's own row.
static double measured_bandwidth(void) {
    enum { passes = 5 };
    double seconds[passes], best = INFINITY;
    if (read_bandwidth_passes(bench.buffer, bench.buffer_bytes, bench.options.threads, bench.options.cpus, passes, seconds))
        peer_die("no threads for the read-bandwidth probe");
    for (int i = 0; i < passes; i++) {
        bench.passes = grown(bench.passes, (size_t)bench.pass_count, sizeof *bench.passes);
        bench.passes[bench.pass_count++] = seconds[i];
        best = seconds[i] < best ? seconds[i] : best;
    }
    return (double)bench.buffer_bytes / best;
}

bool peer_ended(void) { return interrupted || now_seconds() > bench.deadline; }

typedef struct {
    double *seconds, total;
    int runs;
} timing;

static bool wants_more(const timing *t, double stop_at) {
    if (peer_ended()) return false;
    if (t->runs < 3) return true;
    return now_seconds() < stop_at && (t->runs < bench.options.min_runs || t->total < bench.options.min_seconds);
}

static void add_row(const peer_contender *c, timing *t, int64_t n, int64_t k, int64_t m, double bandwidth) {
    double middle = median(t->seconds, t->runs);
    bench.rows = grown(bench.rows, (size_t)bench.row_count, sizeof *bench.rows);
    bench.rows[bench.row_count++] =
        (row){c->op, c->format, c->variant, n, k, m, c->bytes, t->runs, middle, t->seconds[0], bandwidth, c->error, c->bound};
    char shape[48];
    snprintf(shape, sizeof shape, "%lldx%lld", (long long)n, (long long)k);
    peer_say("%12s M=%-4lld %-12s %-18s %10.1f us %7.1f GB/s %6.2f of the roofline  %4d runs  error %.1e (bound %.1e)", shape,
             (long long)m, c->format, c->variant, middle * 1e6, (double)c->bytes / middle * 1e-9,
             (double)c->bytes / bandwidth / middle, t->runs, c->error, c->bound);
}

bool peer_time(const peer_options *options, peer_contender *contenders, int count, int64_t n, int64_t k, int64_t m) {
    (void)options;
    double bandwidth = measured_bandwidth(), start = now_seconds();
    double stop_at = start + (bench.deadline - start) / bench.groups_left--;
    timing *timings = calloc((size_t)count + 1, sizeof *timings);
    if (!timings) peer_die("no memory for %d timings", count);
    bool busy = count > 0;
    for (int run = 0; busy; run++) {
        busy = false;
        for (int i = 0; i < count; i++) {
            timing *t = &timings[i];
            if (!wants_more(t, stop_at)) continue;
            double before = now_seconds();
            contenders[i].run(contenders[i].state, run % contenders[i].copies);
            t->seconds = grown(t->seconds, (size_t)t->runs, sizeof *t->seconds);
            t->total += t->seconds[t->runs++] = now_seconds() - before;
            busy = true;
        }
    }
    for (int i = 0; i < count; i++) {
        if (timings[i].runs) add_row(&contenders[i], &timings[i], n, k, m, bandwidth);
        free(timings[i].seconds);
    }
    free(timings);
    return !peer_ended();
}

// --- The report -----------------------------------------------------------------------------------------------------

static double best_bf16(const row *r) {
    double best = INFINITY;
    for (int i = 0; i < bench.row_count; i++) {
        const row *o = &bench.rows[i];
        if (o->n == r->n && o->k == r->k && o->m == r->m && !strcmp(o->format, "bf16") && o->median < best) best = o->median;
    }
    return best;
}

static void put_text(FILE *out, const char *key, const char *value) { fprintf(out, ", \"%s\": \"%s\"", key, value); }

static void put_number(FILE *out, const char *key, double value) {
    if (isfinite(value)) fprintf(out, ", \"%s\": %.15g", key, value);
    else fprintf(out, ", \"%s\": null", key);
}

static void write_machine(FILE *out) {
    char line[256], cpu[256] = "unknown", pages[256] = "unknown", date[16];
    FILE *info = fopen("/proc/cpuinfo", "r");
    while (info && fgets(line, sizeof line, info))
        if (sscanf(line, "model name : %255[^\n]", cpu) == 1) break;
    if (info) fclose(info);
    read_line("/sys/kernel/mm/transparent_hugepage/enabled", pages, sizeof pages);
    time_t today = time(NULL);
    strftime(date, sizeof date, "%Y-%m-%d", localtime(&today));
    fprintf(out, " \"machine\": {\"implementation\": \"%s\"", bench.options.implementation);
    put_text(out, "version", bench.options.version);
    put_text(out, "cpu", cpu);
    put_text(out, "transparent_hugepages", pages);
    put_text(out, "date", date);
    put_number(out, "allowed_cores", bench.core_count);
    put_number(out, "threads", bench.options.threads);
    put_number(out, "last_level_cache_bytes", (double)bench.cache_bytes);
    fprintf(out, "%s},\n", bench.notes);
}

static row bandwidth_row(void) {
    double middle = median(bench.passes, bench.pass_count), least = bench.passes[0], bytes = (double)bench.buffer_bytes;
    return (row){"read_bandwidth", "bytes", "c-loop",      0,   0,  0, bench.buffer_bytes, bench.pass_count,
                 middle,           least,   bytes / least, NAN, NAN};
}

static void write_row(FILE *out, const row *r) {
    char shape[48];
    if (r->n) snprintf(shape, sizeof shape, "%lldx%lld", (long long)r->n, (long long)r->k);
    else snprintf(shape, sizeof shape, "%zu", r->bytes);
    double bytes = (double)r->bytes, n = (double)r->n, k = (double)r->k, m = (double)r->m;
    fprintf(out, "  {\"op\": \"%s\"", r->op);
    put_text(out, "format", r->format);
    put_text(out, "isa", bench.options.isa);
    put_text(out, "variant", r->variant);
    put_text(out, "shape", shape);
    put_number(out, "n", n), put_number(out, "k", k), put_number(out, "m", m);
    put_number(out, "threads", bench.options.threads);
    put_number(out, "seconds_median", r->median);
    put_number(out, "seconds_min", r->least);
    put_number(out, "runs", r->runs);
    put_number(out, "bytes", bytes);
    put_number(out, "flops", 2 * n * k * m);
    put_number(out, "gbps", bytes / r->median * 1e-9);
    put_number(out, "roofline_seconds", bytes / r->bandwidth);
    put_number(out, "roofline_fraction", bytes / r->bandwidth / r->median);
    put_number(out, "speedup_vs_dense_bf16", best_bf16(r) / r->median);
    put_number(out, "max_rel_error", r->error);
    put_number(out, "error_bound", r->bound);
    fprintf(out, "}");
}

int peer_finish(void) {
    const char *reason = interrupted ? "interrupted" : "the budget is spent";
    if (peer_ended()) peer_say("stopped early: %s; %d rows are measured", reason, bench.row_count);
    const char *path = bench.options.json;
    if (!path) return bench.wrong;
    FILE *out = strcmp(path, "-") ? fopen(path, "w") : stdout;
    if (!out) peer_die("--json %s: cannot be written", path);
    fprintf(out, "{\n");
    write_machine(out);
    fprintf(out, " \"results\": [\n");
    if (!bench.pass_count) measured_bandwidth();
    row bandwidth = bandwidth_row();
    write_row(out, &bandwidth);
    for (int i = 0; i < bench.row_count; i++) {
        fprintf(out, ",\n");
        write_row(out, &bench.rows[i]);
    }
    fprintf(out, "\n ]\n}\n");
    if (out == stdout ? fflush(out) : fclose(out)) peer_die("--json %s: could not be written whole", path);
    return bench.wrong;
}
