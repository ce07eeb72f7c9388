// The variants of attention's three kernels as tables.
#include "ck_attention.h"
#include "support/isa.h"

#define CK_ATTENTION_KEYS(fn, type, isa, min_rows, scratch)                                                                      \
    size_t ck_##scratch(size_t, size_t);                                                                                         \
    void ck_##fn(const ck_kv_span *, const ck_attention_queries *, float *, size_t, void *);
#define CK_ATTENTION_VALUES(fn, type, isa, min_rows, scratch)                                                                    \
    size_t ck_##scratch(size_t, size_t);                                                                                         \
    void ck_##fn(const ck_kv_span *, size_t, const float *, size_t, float *, size_t, void *);
#define CK_ATTENTION_SOFTMAX(fn, isa) void ck_##fn(const ck_attention_softmax_call *);
#include "attention/variants.inc"
#undef CK_ATTENTION_KEYS
#undef CK_ATTENTION_VALUES
#undef CK_ATTENTION_SOFTMAX

size_t ck_attention_no_scratch(size_t rows, size_t dim) {
    (void)rows;
    (void)dim;
    return 0;
}

#define CK_ATTENTION_KEYS(fn, type, isa, min_rows, scratch) {#fn, type, isa, min_rows, ck_##scratch, ck_##fn},
#define CK_ATTENTION_VALUES(fn, type, isa, min_rows, scratch)
#define CK_ATTENTION_SOFTMAX(fn, isa)
static const ck_attention_keys_variant keys[] = {
#include "attention/variants.inc"
};
#undef CK_ATTENTION_KEYS
#undef CK_ATTENTION_VALUES

#define CK_ATTENTION_KEYS(fn, type, isa, min_rows, scratch)
#define CK_ATTENTION_VALUES(fn, type, isa, min_rows, scratch) {#fn, type, isa, min_rows, ck_##scratch, ck_##fn},
static const ck_attention_values_variant values[] = {
#include "attention/variants.inc"
};
#undef CK_ATTENTION_VALUES
#undef CK_ATTENTION_SOFTMAX

#define CK_ATTENTION_VALUES(fn, type, isa, min_rows, scratch)
#define CK_ATTENTION_SOFTMAX(fn, isa) {#fn, isa, ck_##fn},
static const ck_attention_softmax_variant softmax[] = {
#include "attention/variants.inc"
};

const ck_attention_keys_variant *ck_attention_keys_variants(size_t *count) {
    *count = sizeof keys / sizeof *keys;
    return keys;
}

const ck_attention_values_variant *ck_attention_values_variants(size_t *count) {
    *count = sizeof values / sizeof *values;
    return values;
}

const ck_attention_softmax_variant *ck_attention_softmax_variants(size_t *count) {
    *count = sizeof softmax / sizeof *softmax;
    return softmax;
}
