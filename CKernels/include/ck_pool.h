// A pool of pinned worker threads for fork-join work of a few microseconds.
#pragma once
#include "ck.h"

#pragma clang assume_nonnull begin

#ifdef __cplusplus
extern "C" {
#endif

typedef struct ck_pool ck_pool;

enum {
    CK_POOL_MOST_THREADS = 1024,
    CK_POOL_STACK_BYTES  = 2 << 20,  // of each worker, on every system: the defaults differ from 128 KiB to 8 MiB
};

typedef struct {
    size_t threads;                 // workers including the calling thread; 1...CK_POOL_MOST_THREADS
    const int32_t *_Nullable cpus;  // `threads` CPU numbers to pin to; NULL pins nothing. cpus[0] is unused, because the
                                    // caller is never moved; a CPU that cannot be had leaves its worker unpinned
    uint32_t spin_us;               // how long an idle thread spins before it sleeps; 0 sleeps at once, and so does a
                                    // pool with more threads than the process has CPUs
} ck_pool_options;

// A piece of work: called once for each `part` in 0..<parts, on the worker `worker` in 0..<threads.
typedef void (*ck_pool_task)(void *_Nullable context, size_t part, size_t worker);

// CK_ERR_THREADS for a thread count out of range, CK_ERR_MEMORY when memory or a thread cannot be had; *out is then NULL.
ck_status ck_pool_create(const ck_pool_options *options, ck_pool *_Nullable *_Nonnull out);

// Waits for running work, ends the workers and frees the pool. NULL is legal; a call from inside a task of this pool is not.
void ck_pool_destroy(ck_pool *_Nullable pool);

size_t ck_pool_threads(const ck_pool *pool);

// Runs task(context, part, worker) for every part and returns when all are done; what the parts wrote is then visible to
// the caller. Part p runs on worker p % threads, so that the same part touches the same memory from the same core each
// time. The caller is worker 0. Workers round and flush denormals as the caller does, so the bits of a result do not
// depend on which of them computed it.
//
// Several host threads may call at once: their jobs run one after the other.
//
// A call from inside a task of any pool never waits for its turn. If the pool is busy, which it always is when it is the
// task's own, the parts run on the spot, one after the other, with the worker number that the thread holds in this pool, or
// 0. So pools may be nested in any order and never deadlock; the price is that a worker number is unique only within one
// call: scratch memory indexed by it belongs to the call, not to the pool.
void ck_pool_run(ck_pool *pool, size_t parts, ck_pool_task task, void *_Nullable context);

// Tells the workers to sleep now instead of after spin_us; the next ck_pool_run wakes them. May be called at any time.
void ck_pool_rest(ck_pool *pool);

#ifdef __cplusplus
}
#endif

#pragma clang assume_nonnull end
