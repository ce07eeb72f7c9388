// Sums of sparse values, AMX BF16: rows are expanded into scratch, and the kernel for bf16 values takes them from there. It is
// chosen for many rows of p, which the tile unit takes longer over than an expansion lasts.
#include "attention/sparse_rows.h"
#include "support/isa.h"

#if CK_X86
size_t ck_attention_values_bf16_amxbf16_scratch(size_t rows, size_t dim);
void ck_attention_values_bf16_amxbf16(const ck_kv_span *values, size_t rows, const float *p, size_t p_stride, float *y,
                                      size_t y_stride, void *scratch);

CK_ISA_BEGIN(amxbf16)
#include "support/expand_avx512.h"

CK_INLINE void sparse_expand_row_avx512(const uint16_t *value, const uint32_t *masks, size_t lines, char *row) {
    for (size_t line = 0; line < lines; line++, row += 64) _mm512_store_si512(row, ck_expand_bf16(masks[line], &value));
}
#define EXPAND_ROW sparse_expand_row_avx512
#include "attention/sparse_expanded.h"

size_t ck_attention_values_sparse_amxbf16_scratch(size_t rows, size_t dim) {
    return sparse_expanded_bytes(dim) + ck_attention_values_bf16_amxbf16_scratch(rows, dim);
}

CK_INLINE void run(ck_kv_type type, const ck_kv_span *values, size_t rows, const float *p, size_t p_stride, float *y,
                   size_t y_stride, char *scratch) {
    const void *parts[SPARSE_PARTS];
    const ck_kv_span expanded = sparse_expand(type, values, parts, scratch);
    ck_attention_values_bf16_amxbf16(&expanded, rows, p, p_stride, y, y_stride, scratch + sparse_expanded_bytes(values->dim));
}

void ck_attention_values_sparse50_amxbf16(const ck_kv_span *values, size_t rows, const float *p, size_t p_stride, float *y,
                                          size_t y_stride, void *scratch) {
    run(CK_KV_SPARSE50, values, rows, p, p_stride, y, y_stride, scratch);
}

void ck_attention_values_sparse70_amxbf16(const ck_kv_span *values, size_t rows, const float *p, size_t p_stride, float *y,
                                          size_t y_stride, void *scratch) {
    run(CK_KV_SPARSE70, values, rows, p, p_stride, y, y_stride, scratch);
}

CK_ISA_END
#endif
