// Sums of values in codes of 8, 4, 3 and 2 bits, the definition.
#include "attention/kv_rows.h"
#include "support/isa.h"

size_t ck_attention_no_scratch(size_t rows, size_t dim);
void ck_attention_values_bf16_scalar(const ck_kv_span *values, size_t rows, const float *p, size_t p_stride, float *y,
                                     size_t y_stride, void *scratch);
#define KERNEL         ck_attention_values_bf16_scalar
#define KERNEL_SCRATCH ck_attention_no_scratch

#include "attention/kv_affine.h"
#define EXPAND(part, bits, dim, expanded, next)                                                                                  \
    ((void)(next), ck_affine_expand(part, (size_t)bits, dim, 0, (uint16_t *)(void *)(expanded)))
#include "attention/attention_values_affine.h"

VALUES_AFFINE(8, scalar)
VALUES_AFFINE(4, scalar)
VALUES_AFFINE(3, scalar)
VALUES_AFFINE(2, scalar)
