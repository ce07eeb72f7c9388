// A pool of pinned worker threads for fork-join work of a few microseconds.
#pragma once
#include "ck.h"

#pragma clang assume_nonnull begin

#ifdef __cplusplus
extern "C" {
#endif

typedef struct ck_pool ck_pool;

typedef struct {
    size_t             threads;     // workers including the calling thread; 1...1024
    const int32_t *_Nullable cpus;  // `threads` CPU numbers to pin to, cpus[0] unused (the caller is never moved); NULL pins nothing
    uint32_t           spin_us;     // how long an idle worker spins before it sleeps; 0 sleeps at once
} ck_pool_options;

// A piece of work: called once for each `part` in 0..<parts, on the worker `worker` in 0..<threads.
typedef void (*ck_pool_task)(void *_Nullable context, size_t part, size_t worker);

// CK_ERR_THREADS for a thread count out of range, CK_ERR_MEMORY when memory or a thread cannot be had; *out is then NULL.
ck_status ck_pool_create(const ck_pool_options *options, ck_pool *_Nullable *_Nonnull out);

// Waits for running work, ends the workers and frees the pool. NULL is legal.
void ck_pool_destroy(ck_pool *_Nullable pool);

size_t ck_pool_threads(const ck_pool *pool);

// Runs task(context, part, worker) for every part and returns when all are done. Part p runs on worker p % threads, so
// that the same part touches the same memory from the same core each time. The caller is worker 0.
// Several host threads may call at once: their jobs run one after the other. A call from inside a task of the same pool
// runs its parts on the spot, one after the other, with the worker number of the enclosing task.
void ck_pool_run(ck_pool *pool, size_t parts, ck_pool_task task, void *_Nullable context);

// Tells the workers to sleep now instead of after spin_us; the next ck_pool_run wakes them.
void ck_pool_rest(ck_pool *pool);

#ifdef __cplusplus
}
#endif

#pragma clang assume_nonnull end
