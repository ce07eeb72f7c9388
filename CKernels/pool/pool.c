// The thread pool: one signal starts all workers, each worker answers with a signal of its own.
//
// A job is published by raising `start`, whose cache line also carries the job, so that a spinning worker learns all it
// needs from one line. Each worker raises its own `done` when its parts are finished: the workers of a big machine then
// answer side by side, where a shared counter would make them queue for one line. The caller awaits only those workers that
// had parts. Those that had none may still be on their way to look, so the next job is not published before they have.
#include "ck_pool.h"

#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include "ck_cpu.h"
#include "pool/signal.h"

// Two lines of 64 bytes: the prefetcher of x86 fetches them in pairs, and Apple's lines are that long.
#define OWN_LINE _Alignas(128)

// What a thread is doing: the innermost task it is in, and those around it on the same stack.
typedef struct frame {
    const ck_pool *pool;
    size_t worker;
    const struct frame *outer;
} frame;

static _Thread_local const frame *current;

typedef struct {
    OWN_LINE ck_signal done;
    ck_pool *pool;
    size_t number;
    int32_t cpu;
    pthread_t thread;
} worker;

typedef struct {
    OWN_LINE ck_signal start;
    ck_pool_task task;  // NULL ends the workers
    void *context;
    size_t parts;
    uint64_t float_mode;
} job;

struct ck_pool {
    size_t threads;
    uint64_t spin_ns;
    OWN_LINE pthread_mutex_t turn;  // held by the thread whose job runs; guards what follows
    uint32_t generation;            // of the latest job
    size_t joined;                  // workers below this one are known to have finished it
    job job;
    worker workers[];  // the first stands for the caller and has no thread
};

static size_t least(size_t a, size_t b) { return a < b ? a : b; }

// The number of a thread in a pool whose task it is in; 0 where it is in none.
static size_t number_in(const ck_pool *pool) {
    for (const frame *frame = current; frame; frame = frame->outer) {
        if (frame->pool == pool) return frame->worker;
    }
    return 0;
}

static void run_share(const ck_pool *pool, size_t number) {
    const job *job = &pool->job;
    for (size_t part = number; part < job->parts; part += pool->threads) job->task(job->context, part, number);
}

static void run_here(size_t parts, ck_pool_task task, void *context, size_t number) {
    for (size_t part = 0; part < parts; part++) task(context, part, number);
}

static void *worker_main(void *argument) {
    worker *self = argument;
    ck_pool *pool = self->pool;
    ck_name_self();
    ck_pin_self(self->cpu);
    const frame outermost = {.pool = pool, .worker = self->number};
    current = &outermost;

    uint32_t seen = 0;
    for (;;) {
        seen = ck_signal_await(&pool->job.start, seen, pool->spin_ns);
        if (pool->job.task == NULL) return NULL;
        ck_adopt_float_mode(pool->job.float_mode);
        run_share(pool, self->number);
        ck_signal_raise(&self->done, seen);
    }
}

// Returns when the workers in first..<end have finished the latest job.
static void await_workers(ck_pool *pool, size_t first, size_t end) {
    const uint32_t before = pool->generation - CK_GENERATION;
    for (size_t w = first; w < end; w++) ck_signal_await(&pool->workers[w].done, before, pool->spin_ns);
}

static void publish(ck_pool *pool, size_t parts, ck_pool_task _Nullable task, void *context) {
    await_workers(pool, pool->joined, pool->threads);
    pool->job.task = task;
    pool->job.context = context;
    pool->job.parts = parts;
    pool->job.float_mode = ck_float_mode();
    pool->generation += CK_GENERATION;
    ck_signal_raise(&pool->job.start, pool->generation);
}

static void run_on_all(ck_pool *pool, size_t parts, ck_pool_task task, void *context) {
    publish(pool, parts, task, context);
    run_share(pool, 0);
    pool->joined = least(parts, pool->threads);
    await_workers(pool, 1, pool->joined);
}

void ck_pool_run(ck_pool *pool, size_t parts, ck_pool_task task, void *context) {
    if (parts == 0) return;
    if (current == NULL) {
        pthread_mutex_lock(&pool->turn);
    } else if (pthread_mutex_trylock(&pool->turn) != 0) {
        run_here(parts, task, context, number_in(pool));
        return;
    }

    const frame here = {.pool = pool, .worker = 0, .outer = current};
    current = &here;
    if (parts == 1 || pool->threads == 1) {
        run_here(parts, task, context, 0);
    } else {
        run_on_all(pool, parts, task, context);
    }
    current = here.outer;
    pthread_mutex_unlock(&pool->turn);
}

void ck_pool_rest(ck_pool *pool) { ck_signal_rest(&pool->job.start); }

size_t ck_pool_threads(const ck_pool *pool) { return pool->threads; }

// Starts workers 1..<threads with all signals blocked, so that the host's handlers run on the host's threads. Stops at
// the first that the system refuses and returns how many exist, the caller included.
static size_t start_workers(ck_pool *pool, size_t threads) {
    pthread_attr_t attributes;
    if (pthread_attr_init(&attributes) != 0) return 1;
    pthread_attr_setstacksize(&attributes, CK_POOL_STACK_BYTES);
    sigset_t every_signal, before;
    sigfillset(&every_signal);
    pthread_sigmask(SIG_SETMASK, &every_signal, &before);
    size_t count = 1;
    while (count < threads &&
           pthread_create(&pool->workers[count].thread, &attributes, worker_main, &pool->workers[count]) == 0) {
        count++;
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_attr_destroy(&attributes);
    return count;
}

ck_status ck_pool_create(const ck_pool_options *options, ck_pool **out) {
    *out = NULL;
    const size_t threads = options->threads;
    if (threads == 0 || threads > CK_POOL_MOST_THREADS) return CK_ERR_THREADS;
    ck_pool *pool = aligned_alloc(_Alignof(ck_pool), sizeof(ck_pool) + threads * sizeof(worker));
    if (pool == NULL) return CK_ERR_MEMORY;

    // A spinning thread keeps its CPU from the very thread it waits for where CPUs are fewer than threads.
    const size_t cpus = ck_cpu_allowed(NULL, 0);
    const bool spin = cpus == 0 || threads <= cpus;
    *pool = (ck_pool){
        .spin_ns = spin ? options->spin_us * (uint64_t)1000 : 0,
        .turn = PTHREAD_MUTEX_INITIALIZER,
        .joined = threads,
        .job = {.start = CK_SIGNAL_INIT},
    };
    for (size_t w = 0; w < threads; w++) {
        pool->workers[w] =
            (worker){.done = CK_SIGNAL_INIT, .pool = pool, .number = w, .cpu = options->cpus ? options->cpus[w] : -1};
    }
    pool->threads = start_workers(pool, threads);
    if (pool->threads < threads) {
        ck_pool_destroy(pool);
        return CK_ERR_MEMORY;
    }
    *out = pool;
    return CK_OK;
}

void ck_pool_destroy(ck_pool *pool) {
    if (pool == NULL) return;
    pthread_mutex_lock(&pool->turn);
    publish(pool, 0, NULL, NULL);
    for (size_t w = 1; w < pool->threads; w++) pthread_join(pool->workers[w].thread, NULL);
    pthread_mutex_unlock(&pool->turn);

    ck_parking_destroy(&pool->job.start.parking);
    for (size_t w = 0; w < pool->threads; w++) ck_parking_destroy(&pool->workers[w].done.parking);
    pthread_mutex_destroy(&pool->turn);
    free(pool);
}
