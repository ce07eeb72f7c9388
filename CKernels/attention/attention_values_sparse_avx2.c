// Sums of sparse values, AVX2: rows are expanded into scratch, and the kernel for bf16 values takes them from there.
#include "attention/sparse_rows.h"
#include "support/isa.h"

#if CK_X86
size_t ck_attention_values_bf16_avx2_scratch(size_t rows, size_t dim);
void ck_attention_values_bf16_avx2(const ck_kv_span *values, size_t rows, const float *p, size_t p_stride, float *y,
                                   size_t y_stride, void *scratch);

CK_ISA_BEGIN(avx2)
#include "attention/sparse_expanded_avx2.h"

size_t ck_attention_values_sparse_avx2_scratch(size_t rows, size_t dim) {
    return sparse_expanded_bytes(dim) + ck_attention_values_bf16_avx2_scratch(rows, dim);
}

CK_INLINE void run(ck_kv_type type, const ck_kv_span *values, size_t rows, const float *p, size_t p_stride, float *y,
                   size_t y_stride, char *scratch) {
    const void *parts[SPARSE_PARTS];
    const ck_kv_span expanded = sparse_expand(type, values, parts, scratch);
    ck_attention_values_bf16_avx2(&expanded, rows, p, p_stride, y, y_stride, scratch + sparse_expanded_bytes(values->dim));
}

void ck_attention_values_sparse50_avx2(const ck_kv_span *values, size_t rows, const float *p, size_t p_stride, float *y,
                                       size_t y_stride, void *scratch) {
    run(CK_KV_SPARSE50, values, rows, p, p_stride, y, y_stride, scratch);
}

void ck_attention_values_sparse70_avx2(const ck_kv_span *values, size_t rows, const float *p, size_t p_stride, float *y,
                                       size_t y_stride, void *scratch) {
    run(CK_KV_SPARSE70, values, rows, p, p_stride, y, y_stride, scratch);
}

CK_ISA_END
#endif
