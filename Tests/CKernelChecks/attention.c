// Attention's kernels, called so that their faults are survived.
#include "ck_checks.h"
#include "trap.h"

typedef struct {
    const ck_attention_keys_variant *variant;
    const ck_kv_span *keys;
    const ck_attention_queries *queries;
    float *scores;
    size_t stride;
    void *scratch;
} keys_call;

static void run_keys(const void *context) {
    const keys_call *call = context;
    call->variant->run(call->keys, call->queries, call->scores, call->stride, call->scratch);
}

const char *ck_check_run_attention_keys(const ck_attention_keys_variant *variant, const ck_kv_span *keys,
                                        const ck_attention_queries *queries, float *scores, size_t stride, void *scratch,
                                        uintptr_t *address) {
    const keys_call call = {variant, keys, queries, scores, stride, scratch};
    return ck_check_trapped(run_keys, &call, address);
}

typedef struct {
    const ck_attention_values_variant *variant;
    const ck_kv_span *values;
    size_t rows;
    const float *p;
    size_t p_stride;
    float *y;
    size_t y_stride;
    void *scratch;
} values_call;

static void run_values(const void *context) {
    const values_call *call = context;
    call->variant->run(call->values, call->rows, call->p, call->p_stride, call->y, call->y_stride, call->scratch);
}

const char *ck_check_run_attention_values(const ck_attention_values_variant *variant, const ck_kv_span *values, size_t rows,
                                          const float *p, size_t p_stride, float *y, size_t y_stride, void *scratch,
                                          uintptr_t *address) {
    const values_call call = {variant, values, rows, p, p_stride, y, y_stride, scratch};
    return ck_check_trapped(run_values, &call, address);
}

typedef struct {
    const ck_attention_softmax_variant *variant;
    const ck_attention_softmax_call *call;
} softmax_call;

static void run_softmax(const void *context) {
    const softmax_call *call = context;
    call->variant->run(call->call);
}

const char *ck_check_run_attention_softmax(const ck_attention_softmax_variant *variant, const ck_attention_softmax_call *call,
                                           uintptr_t *address) {
    const softmax_call both = {variant, call};
    return ck_check_trapped(run_softmax, &both, address);
}
