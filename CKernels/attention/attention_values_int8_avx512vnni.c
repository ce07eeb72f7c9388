// Sums of int8 values, AVX-512 VNNI. For each part a row of p, times the scales of the tokens, becomes 16-bit integers of one
// step; unpacking the widened rows of two tokens makes the pairs that VPDPWSSD multiplies with two tokens of it. The sums of a
// part are exact in int32 and join those in fp32 with one multiply-add. Four rows of p by a line of channels are 16 chains. The
// order that unpacking leaves is mended once, at the end.
#include <math.h>
#include "attention/kv_rows.h"
#include "support/isa.h"

#if CK_X86
#include "support/for_rows.h"

enum { ROWS = 4, WEIGHT_BYTES = CK_KV_TOKENS * sizeof(int16_t) };

// Sums, the weights of a part, and what their steps are worth.
size_t ck_attention_values_int8_avx512vnni_scratch(size_t rows, size_t dim) {
    return rows * (ck_kv_row_bytes(CK_KV_INT8, dim) * sizeof(float) + WEIGHT_BYTES) + (rows * sizeof(float) + 63) / 64 * 64;
}

CK_ISA_BEGIN(avx512vnni)
#include "attention/int16_rows.h"
#include "attention/kv_ahead.h"
#include "attention/lanes_avx512.h"

CK_INLINE __m512i broadcast_pair_avx512(const char *weights) {
    int32_t pair;
    memcpy(&pair, weights, sizeof pair);
    return _mm512_set1_epi32(pair);
}

CK_INLINE __m512i widen_avx512(const int8_t *at) { return _mm512_cvtepi8_epi16(_mm256_loadu_si256((const void *)at)); }

typedef struct {
    const char *weights;
    const float *steps;
    float *sums;
    size_t elements;  // of a row of values, padded
} work_avx512;

// A line of 64 channels of a part: sums += step * (weights . v), for each half of the line 16 low ones and 16 high ones.
CK_INLINE void line_avx512(const int8_t *v, size_t tokens, const work_avx512 *work, size_t c, ck_kv_ahead *ahead, int rows) {
    __m512i acc[ROWS][4];
    CK_UNROLL
    for (int m = 0; m < rows; m++) CK_UNROLL
    for (int i = 0; i < 4; i++) acc[m][i] = _mm512_setzero_si512();
    // The token behind an odd last one has weight 0.
    for (size_t t = 0; t < tokens; t += 2) {
        if (ahead) ck_kv_ahead_lines(ahead, 2);
        CK_UNROLL
        for (int half = 0; half < 2; half++) {
            const int8_t *at = v + t * work->elements + c + 32 * half;
            const __m512i one = widen_avx512(at), two = widen_avx512(at + work->elements);
            const __m512i low = _mm512_unpacklo_epi16(one, two), high = _mm512_unpackhi_epi16(one, two);
            CK_UNROLL
            for (int m = 0; m < rows; m++) {
                const __m512i pair = broadcast_pair_avx512(work->weights + m * WEIGHT_BYTES + 2 * t);
                acc[m][2 * half] = _mm512_dpwssd_epi32(acc[m][2 * half], low, pair);
                acc[m][2 * half + 1] = _mm512_dpwssd_epi32(acc[m][2 * half + 1], high, pair);
            }
        }
    }
    CK_UNROLL
    for (int m = 0; m < rows; m++) CK_UNROLL
    for (int i = 0; i < 4; i++) {
        float *sum = work->sums + (size_t)m * work->elements + c + 16 * i;
        const __m512 step = _mm512_set1_ps(work->steps[m]);
        _mm512_store_ps(sum, _mm512_fmadd_ps(_mm512_cvtepi32_ps(acc[m][i]), step, _mm512_load_ps(sum)));
    }
}

void ck_attention_values_int8_avx512vnni(const ck_kv_span *values, size_t rows, const float *p, size_t p_stride, float *y,
                                         size_t y_stride, void *scratch) {
    const size_t elements = ck_kv_row_bytes(CK_KV_INT8, values->dim);
    float *sums = scratch;
    char *weights = (char *)(sums + rows * elements);
    float *steps = (float *)(weights + rows * WEIGHT_BYTES);
    memset(sums, 0, rows * elements * sizeof(float));
    ck_kv_ahead ahead = ck_kv_ahead_begin(values, ck_kv_part_bytes(CK_KV_INT8, values->dim));
    for (size_t part = 0; part < ck_kv_parts(values->tokens); part++) {
        const int8_t *v = values->parts[part];
        const size_t tokens = ck_kv_part_tokens(values, part);
        ck_kv_ahead_lines(&ahead, CK_KV_TOKENS * sizeof(float) / 64);
        for (size_t m = 0; m < rows; m++)
            steps[m] = ck_int16_weights(p + m * p_stride + part * CK_KV_TOKENS, ck_kv_scales(values->dim, v), tokens,
                                        (int16_t *)(weights + m * WEIGHT_BYTES));
        for (size_t m = 0; m < rows; m += ROWS) {
            const size_t left = rows - m;
            const work_avx512 work = {weights + m * WEIGHT_BYTES, steps + m, sums + m * elements, elements};
            ck_kv_ahead *next = m == 0 ? &ahead : NULL;
            for (size_t c = 0; c < elements; c += 64) {
#define CALL(count) line_avx512(v, tokens, &work, c, next, count)
                CK_FOR_ROWS_4(left < ROWS ? left : ROWS, CALL)
#undef CALL
            }
        }
    }
    for (size_t m = 0; m < rows; m++)
        for (size_t c = 0; c < values->dim; c += 32) {
            const float *at = sums + m * elements + c;
            const size_t left = values->dim - c;
            ck_store_unpacked_avx512(y + m * y_stride + c, left < 32 ? left : 32, _mm512_load_ps(at), _mm512_load_ps(at + 16));
        }
}

CK_ISA_END
#endif
