// Sums of values in codes of 8, 4, 3 and 2 bits, AVX-512 BF16.
#include "attention/kv_rows.h"
#include "support/isa.h"

#if CK_X86
size_t ck_attention_values_bf16_avx512bf16_scratch(size_t rows, size_t dim);
void ck_attention_values_bf16_avx512bf16(const ck_kv_span *values, size_t rows, const float *p, size_t p_stride, float *y,
                                         size_t y_stride, void *scratch);
#define KERNEL         ck_attention_values_bf16_avx512bf16
#define KERNEL_SCRATCH ck_attention_values_bf16_avx512bf16_scratch

CK_ISA_BEGIN(avx512bf16)
#include "attention/kv_affine_avx512.h"
#define EXPAND(part, bits, dim, expanded, next) ck_affine_expand_avx512(part, bits, dim, 0, expanded, next)
#include "attention/attention_values_affine.h"

VALUES_AFFINE(8, avx512bf16)
VALUES_AFFINE(4, avx512bf16)
VALUES_AFFINE(3, avx512bf16)
VALUES_AFFINE(2, avx512bf16)

CK_ISA_END
#endif
