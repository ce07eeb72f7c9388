// Sums of values in codes of 8, 4, 3 and 2 bits, AVX2.
#include "attention/kv_rows.h"
#include "support/isa.h"

#if CK_X86
size_t ck_attention_values_bf16_avx2_scratch(size_t rows, size_t dim);
void ck_attention_values_bf16_avx2(const ck_kv_span *values, size_t rows, const float *p, size_t p_stride, float *y,
                                   size_t y_stride, void *scratch);
#define KERNEL         ck_attention_values_bf16_avx2
#define KERNEL_SCRATCH ck_attention_values_bf16_avx2_scratch

CK_ISA_BEGIN(avx2)
#include "attention/kv_affine.h"
#define EXPAND(part, bits, dim, expanded, next)                                                                                  \
    ((void)(next), ck_affine_expand(part, (size_t)bits, dim, 0, (uint16_t *)(void *)(expanded)))
#include "attention/attention_values_affine.h"

VALUES_AFFINE(8, avx2)
VALUES_AFFINE(4, avx2)
VALUES_AFFINE(3, avx2)
VALUES_AFFINE(2, avx2)

CK_ISA_END
#endif
