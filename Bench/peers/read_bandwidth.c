// Read bandwidth of this machine's memory: each thread sums its own contiguous share of one buffer, pass after pass.
//
// Plain 8-byte loads into eight independent sums keep enough lines in flight on any x86-64 or arm64 core, so the file
// needs no compiler flags.

#define _GNU_SOURCE
#include <pthread.h>
#include <sched.h>
#include <stdint.h>
#include <stdlib.h>
#include <time.h>

typedef struct {
    pthread_mutex_t gate;  // held until every thread exists: the barrier below counts on all of them
    int abandoned;
    pthread_barrier_t pass;
    int passes;
    double *seconds;  // one per pass, written by the first reader alone
} crew;

typedef struct {
    crew *crew;
    const uint64_t *words;
    size_t count;
    int cpu;  // -1: wherever the system puts it
    int first;
    uint64_t sum;
} reader;

static double now_seconds(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static uint64_t sum_words(const uint64_t *p, size_t count) {
    uint64_t s[8] = {0};
    size_t i = 0;
    for (; i + 8 <= count; i += 8)
        for (int j = 0; j < 8; j++) s[j] += p[i + j];
    for (; i < count; i++) s[0] += p[i];
    return s[0] + s[1] + s[2] + s[3] + s[4] + s[5] + s[6] + s[7];
}

static void pin_to(int cpu) {
#ifdef __linux__
    if (cpu < 0) return;
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET((unsigned)cpu, &set);
    pthread_setaffinity_np(pthread_self(), sizeof set, &set);
#else
    (void)cpu;
#endif
}

static void *read_share(void *argument) {
    reader *r = argument;
    crew *c = r->crew;
    pin_to(r->cpu);
    pthread_mutex_lock(&c->gate);
    int abandoned = c->abandoned;
    pthread_mutex_unlock(&c->gate);
    for (int pass = 0; pass < c->passes && !abandoned; pass++) {
        pthread_barrier_wait(&c->pass);
        double start = now_seconds();
        r->sum += sum_words(r->words, r->count);
        pthread_barrier_wait(&c->pass);
        if (r->first) c->seconds[pass] = now_seconds() - start;
    }
    return NULL;
}

// Reads `bytes` of `buffer` `passes` times with `threads` threads; seconds[p] is the time of pass p. cpus[t] is the CPU
// of thread t; cpus may be NULL. The pages must have been written before: untouched ones all share one page of zeros,
// which sits in the cache. Returns 0, or -1 if the threads or their memory could not be had.
int read_bandwidth_passes(const void *buffer, size_t bytes, int threads, const int *cpus, int passes, double *seconds) {
    if (threads < 1 || passes < 1) return -1;
    crew c = {.abandoned = 0, .passes = passes, .seconds = seconds};
    pthread_t *handles = calloc((size_t)threads, sizeof *handles);
    reader *readers = calloc((size_t)threads, sizeof *readers);
    if (!handles || !readers || pthread_barrier_init(&c.pass, NULL, (unsigned)threads)) {
        free(handles), free(readers);
        return -1;
    }
    pthread_mutex_init(&c.gate, NULL);
    pthread_mutex_lock(&c.gate);
    size_t words = bytes / sizeof(uint64_t);
    int started = 0;
    for (; started < threads; started++) {
        size_t begin = words * (size_t)started / (size_t)threads, end = words * ((size_t)started + 1) / (size_t)threads;
        const uint64_t *share = (const uint64_t *)buffer + begin;
        readers[started] = (reader){&c, share, end - begin, cpus ? cpus[started] : -1, started == 0, 0};
        if (pthread_create(&handles[started], NULL, read_share, &readers[started])) break;
    }
    c.abandoned = started < threads;
    pthread_mutex_unlock(&c.gate);
    volatile uint64_t sink = 0;  // the sums must not look unused
    for (int t = 0; t < started; t++) {
        pthread_join(handles[t], NULL);
        sink += readers[t].sum;
    }
    pthread_mutex_destroy(&c.gate);
    pthread_barrier_destroy(&c.pass);
    free(handles), free(readers);
    return c.abandoned ? -1 : 0;
}
