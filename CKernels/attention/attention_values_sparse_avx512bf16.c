// Sums of sparse values, AVX-512 with VBMI2, in fp32: an expand, a shift and a mask give 16 even and 16 odd channels, and p stays
// as it is. Four rows of p by two lines of channels are 16 chains of multiply-adds over 16 tokens; where a row's values go on
// behind two lines is remembered for the next two.
#include <string.h>
#include "attention/sparse_rows.h"
#include "support/isa.h"

#if CK_X86
#include "support/for_rows.h"

enum { ROWS = 4, TOKENS = 16 };

size_t ck_attention_values_sparse_avx512bf16_scratch(size_t rows, size_t dim) {
    return rows * ck_kv_row_bytes(CK_KV_BF16, dim) / 2 * sizeof(float);
}

CK_ISA_BEGIN(avx512bf16)
#include "support/expand_avx512.h"
#include "attention/kv_ahead.h"
#include "attention/lanes_avx512.h"

// Up to 16 tokens of a part.
typedef struct {
    const uint16_t *values[TOKENS];  // where each row goes on
    const uint32_t *masks;           // of the first
    size_t tokens, lines;
} sparse_rows;

// One or two lines of channels: sums += p . v, the sums of a line being 16 even and 16 odd ones.
CK_INLINE void sums_avx512(sparse_rows *v, size_t line, const float *p, size_t p_stride, float *sums, ck_kv_ahead *ahead,
                           size_t lines_ahead, int lines, int rows) {
    const size_t row_sums = v->lines * 32;
    __m512 even[ROWS][2], odd[ROWS][2];
    CK_UNROLL
    for (int m = 0; m < rows; m++) CK_UNROLL
    for (int l = 0; l < lines; l++) {
        const float *at = sums + (size_t)m * row_sums + 32 * l;
        even[m][l] = _mm512_load_ps(at);
        odd[m][l] = _mm512_load_ps(at + 16);
    }
    for (size_t t = 0; t < v->tokens; t++) {
        if (ahead && t % 4 == 0) ck_kv_ahead_lines(ahead, lines_ahead);
        const uint16_t *value = v->values[t];
        const uint32_t *masks = v->masks + t * v->lines + line;
        CK_UNROLL
        for (int l = 0; l < lines; l++) {
            const __m512i expanded = ck_expand_bf16(masks[l], &value);
            const __m512 low = _mm512_castsi512_ps(_mm512_slli_epi32(expanded, 16));
            const __m512 high = _mm512_castsi512_ps(_mm512_and_si512(expanded, _mm512_set1_epi32((int)0xFFFF0000)));
            CK_UNROLL
            for (int m = 0; m < rows; m++) {
                const __m512 weight = _mm512_set1_ps(p[(size_t)m * p_stride + t]);
                even[m][l] = _mm512_fmadd_ps(low, weight, even[m][l]);
                odd[m][l] = _mm512_fmadd_ps(high, weight, odd[m][l]);
            }
        }
        v->values[t] = value;
    }
    CK_UNROLL
    for (int m = 0; m < rows; m++) CK_UNROLL
    for (int l = 0; l < lines; l++) {
        float *at = sums + (size_t)m * row_sums + 32 * l;
        _mm512_store_ps(at, even[m][l]);
        _mm512_store_ps(at + 16, odd[m][l]);
    }
}

// Up to 16 tokens from `first` on and four rows of p.
CK_INLINE void tokens_avx512(ck_kv_type type, const ck_kv_span *span, size_t first, const float *p, size_t p_stride, float *sums,
                             ck_kv_ahead *ahead, int rows) {
    const size_t slot = first % CK_KV_TOKENS, left = span->tokens - first, kept = ck_sparse_kept(type, span->dim);
    const void *part = span->parts[first / CK_KV_TOKENS];
    sparse_rows v = {.masks = ck_sparse_masks(type, span->dim, part, slot),
                     .tokens = left < TOKENS ? left : TOKENS,
                     .lines = ck_sparse_lines(span->dim)};
    const uint16_t *values = ck_sparse_values(type, span->dim, part, slot);
    for (size_t t = 0; t < v.tokens; t++) v.values[t] = values + t * kept;
    // A call asks for the lines of 4 tokens 4 times for each two lines of channels.
    const size_t asked = CK_KV_TOKENS / 4 * ((v.lines + 1) / 2);
    const size_t lines_ahead = (ck_sparse_part_bytes(type, span->dim) / 64 + asked - 1) / asked;
    size_t line = 0;
    for (; line + 2 <= v.lines; line += 2) sums_avx512(&v, line, p, p_stride, sums + line * 32, ahead, lines_ahead, 2, rows);
    if (line < v.lines) sums_avx512(&v, line, p, p_stride, sums + line * 32, ahead, lines_ahead, 1, rows);
}

CK_INLINE void run(ck_kv_type type, const ck_kv_span *values, size_t rows, const float *p, size_t p_stride, float *y,
                   size_t y_stride, float *sums) {
    const size_t row_sums = ck_sparse_lines(values->dim) * 32;
    memset(sums, 0, rows * row_sums * sizeof(float));
    ck_kv_ahead ahead = ck_kv_ahead_begin(values, ck_sparse_part_bytes(type, values->dim));
    for (size_t first = 0; first < values->tokens; first += TOKENS)
        for (size_t m = 0; m < rows; m += ROWS) {
            ck_kv_ahead *next = m == 0 ? &ahead : NULL;
#define CALL(count) tokens_avx512(type, values, first, p + m * p_stride + first, p_stride, sums + m * row_sums, next, count)
            CK_FOR_ROWS_4(rows - m < ROWS ? rows - m : ROWS, CALL)
#undef CALL
        }
    for (size_t m = 0; m < rows; m++)
        for (size_t c = 0; c < values->dim; c += 32) {
            const float *at = sums + m * row_sums + c;
            const size_t left = values->dim - c;
            ck_store_even_odd_avx512(y + m * y_stride + c, left < 32 ? left : 32, _mm512_load_ps(at), _mm512_load_ps(at + 16));
        }
}

void ck_attention_values_sparse50_avx512bf16(const ck_kv_span *values, size_t rows, const float *p, size_t p_stride, float *y,
                                             size_t y_stride, void *scratch) {
    run(CK_KV_SPARSE50, values, rows, p, p_stride, y, y_stride, scratch);
}

void ck_attention_values_sparse70_avx512bf16(const ck_kv_span *values, size_t rows, const float *p, size_t p_stride, float *y,
                                             size_t y_stride, void *scratch) {
    run(CK_KV_SPARSE70, values, rows, p, p_stride, y, y_stride, scratch);
}

CK_ISA_END
#endif
