// Sums of bf16 values, AVX-512 in fp32: a line of 32 bf16 gives 16 even and 16 odd channels by a shift and a mask, and p stays as
// it is. Four rows of p by two lines of channels are 16 chains of multiply-adds over 16 tokens, 4 KB of rows of 128 channels, so
// that memory is read nearly in order. For few rows this beats VDPBF16PS, which takes two cycles or more on Golden Cove and wants
// two tokens' rows unpacked.
#include "attention/kv_rows.h"
#include "support/isa.h"

#if CK_X86
#include "support/for_rows.h"

enum { ROWS = 4, TOKENS = 16 };

size_t ck_attention_values_bf16_avx512_scratch(size_t rows, size_t dim) {
    return rows * ck_kv_row_bytes(CK_KV_BF16, dim) / 2 * sizeof(float);
}

CK_ISA_BEGIN(avx512)
#include "attention/kv_ahead.h"
#include "attention/lanes_avx512.h"

// One or two lines of channels of up to 16 tokens: sums += p . v, the sums of a line being 16 even and 16 odd ones.
CK_INLINE void sums_avx512(const char *v, size_t row_bytes, size_t tokens, const float *p, size_t p_stride, float *sums,
                           ck_kv_ahead *ahead, int lines, int rows) {
    __m512 even[ROWS][2], odd[ROWS][2];
    CK_UNROLL
    for (int m = 0; m < rows; m++) CK_UNROLL
    for (int l = 0; l < lines; l++) {
        const float *at = sums + (size_t)m * (row_bytes / 2) + 32 * l;
        even[m][l] = _mm512_load_ps(at);
        odd[m][l] = _mm512_load_ps(at + 16);
    }
    for (size_t t = 0; t < tokens; t++) {
        if (ahead) ck_kv_ahead_lines(ahead, (size_t)lines);
        CK_UNROLL
        for (int l = 0; l < lines; l++) {
            const __m512i line = _mm512_load_si512(v + t * row_bytes + 64 * l);
            const __m512 low = _mm512_castsi512_ps(_mm512_slli_epi32(line, 16));
            const __m512 high = _mm512_castsi512_ps(_mm512_and_si512(line, _mm512_set1_epi32((int)0xFFFF0000)));
            CK_UNROLL
            for (int m = 0; m < rows; m++) {
                const __m512 weight = _mm512_set1_ps(p[(size_t)m * p_stride + t]);
                even[m][l] = _mm512_fmadd_ps(low, weight, even[m][l]);
                odd[m][l] = _mm512_fmadd_ps(high, weight, odd[m][l]);
            }
        }
    }
    CK_UNROLL
    for (int m = 0; m < rows; m++) CK_UNROLL
    for (int l = 0; l < lines; l++) {
        float *at = sums + (size_t)m * (row_bytes / 2) + 32 * l;
        _mm512_store_ps(at, even[m][l]);
        _mm512_store_ps(at + 16, odd[m][l]);
    }
}

// Up to 16 tokens and four rows of p.
CK_INLINE void tokens_avx512(const char *v, size_t row_bytes, size_t tokens, const float *p, size_t p_stride, float *sums,
                             ck_kv_ahead *ahead, int rows) {
    size_t line = 0;
    for (; line + 128 <= row_bytes; line += 128)
        sums_avx512(v + line, row_bytes, tokens, p, p_stride, sums + line / 2, ahead, 2, rows);
    if (line < row_bytes) sums_avx512(v + line, row_bytes, tokens, p, p_stride, sums + line / 2, ahead, 1, rows);
}

void ck_attention_values_bf16_avx512(const ck_kv_span *values, size_t rows, const float *p, size_t p_stride, float *y,
                                     size_t y_stride, void *scratch) {
    const size_t row_bytes = ck_kv_row_bytes(CK_KV_BF16, values->dim), row_sums = row_bytes / 2;
    float *sums = scratch;
    memset(sums, 0, rows * row_sums * sizeof(float));
    ck_kv_ahead ahead = ck_kv_ahead_begin(values, CK_KV_TOKENS * row_bytes);
    for (size_t first = 0; first < values->tokens; first += TOKENS) {
        const char *part = values->parts[first / CK_KV_TOKENS];
        const size_t left = values->tokens - first, tokens = left < TOKENS ? left : TOKENS;
        for (size_t m = 0; m < rows; m += ROWS) {
            const char *v = part + first % CK_KV_TOKENS * row_bytes;
            ck_kv_ahead *next = m == 0 ? &ahead : NULL;
#define CALL(count) tokens_avx512(v, row_bytes, tokens, p + m * p_stride + first, p_stride, sums + m * row_sums, next, count)
            CK_FOR_ROWS_4(rows - m < ROWS ? rows - m : ROWS, CALL)
#undef CALL
        }
    }
    for (size_t m = 0; m < rows; m++)
        for (size_t c = 0; c < values->dim; c += 32) {
            const float *at = sums + m * row_sums + c;
            const size_t left = values->dim - c;
            ck_store_even_odd_avx512(y + m * y_stride + c, left < 32 ? left : 32, _mm512_load_ps(at), _mm512_load_ps(at + 16));
        }
}

CK_ISA_END
#endif
