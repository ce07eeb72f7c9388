// The emulated variants of attention's kernels as tables, from the shipped lists.
#include "emulate.h"
#include "emulated_kernels.h"

#define CK_ATTENTION_KEYS(fn, type, isa, min_rows, scratch) CK_MODEL_##isa({#fn, type, isa, min_rows, ck_##scratch, ck_##fn}, )
#define CK_ATTENTION_VALUES(fn, type, isa, min_rows, scratch)
#define CK_ATTENTION_SOFTMAX(fn, isa)
static const ck_attention_keys_variant keys[] = {
#include "attention/variants.inc"
    {0},
};
#undef CK_ATTENTION_KEYS
#undef CK_ATTENTION_VALUES

#define CK_ATTENTION_KEYS(fn, type, isa, min_rows, scratch)
#define CK_ATTENTION_VALUES(fn, type, isa, min_rows, scratch) CK_MODEL_##isa({#fn, type, isa, min_rows, ck_##scratch, ck_##fn}, )
static const ck_attention_values_variant values[] = {
#include "attention/variants.inc"
    {0},
};
#undef CK_ATTENTION_VALUES
#undef CK_ATTENTION_SOFTMAX

#define CK_ATTENTION_VALUES(fn, type, isa, min_rows, scratch)
#define CK_ATTENTION_SOFTMAX(fn, isa) CK_MODEL_##isa({#fn, isa, ck_##fn}, )
static const ck_attention_softmax_variant softmax[] = {
#include "attention/variants.inc"
    {0},
};

const ck_attention_keys_variant *ck_attention_keys_emulated(size_t *count) {
    *count = sizeof keys / sizeof *keys - 1;
    return keys;
}

const ck_attention_values_variant *ck_attention_values_emulated(size_t *count) {
    *count = sizeof values / sizeof *values - 1;
    return values;
}

const ck_attention_softmax_variant *ck_attention_softmax_emulated(size_t *count) {
    *count = sizeof softmax / sizeof *softmax - 1;
    return softmax;
}
