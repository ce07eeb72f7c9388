// ck_pool_run for a Swift closure that does not escape, without an allocation.
//
// Swift lets such a closure only be called or passed on, so there is no pointer to it that C could keep; making it escape
// costs an allocation and a check, 110 to 150 ns against the 200 of an empty job on two cores. Its calling convention is
// public, though: a closure parameter is two words, the function and its context. ThreadPool.swift declares this function.
#include "ck_pool.h"

#define SWIFT __attribute__((swiftcall))

typedef SWIFT void (*swift_body)(size_t part, size_t worker, __attribute__((swift_context)) void *context);

typedef struct {
    swift_body function;
    void *context;
} closure;

static void call(void *argument, size_t part, size_t worker) {
    const closure *body = argument;
    body->function(part, worker, body->context);
}

SWIFT void ck_pool_run_closure(ck_pool *pool, size_t parts, swift_body function, void *context) {
    closure body = {.function = function, .context = context};
    ck_pool_run(pool, parts, call, &body);
}
