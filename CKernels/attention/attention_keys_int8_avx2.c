// Scores of int8 keys, AVX2. The queries are 16-bit integers of a step of their own, the keys are widened to 16 bits; VPMADDWD
// and additions sum their products in int32, exactly. Two tokens against up to four queries: eight chains.
#include <math.h>
#include "attention/kv_rows.h"
#include "support/isa.h"

#if CK_X86
#include "support/for_rows.h"

// Queries, and what their steps are worth.
size_t ck_attention_keys_int8_avx2_scratch(size_t rows, size_t dim) {
    return rows * 2 * ck_kv_row_bytes(CK_KV_INT8, dim) + (rows * sizeof(float) + 63) / 64 * 64;
}

CK_ISA_BEGIN(avx2)
#include "attention/int16_rows.h"

enum { TOKENS = 2, ROWS = 4 };

// The sums of the eight lanes of four vectors.
CK_INLINE __m128i sums4_avx2(__m256i a, __m256i b, __m256i c, __m256i d) {
    const __m256i halves = _mm256_hadd_epi32(_mm256_hadd_epi32(a, b), _mm256_hadd_epi32(c, d));
    return _mm_add_epi32(_mm256_castsi256_si128(halves), _mm256_extracti128_si256(halves, 1));
}

// Tokens whose rows begin at k, against `rows` queries; both counts are constants.
CK_INLINE void scores_avx2(const int8_t *k, const float *scales, const ck_int16_queries *queries, float *scores, size_t stride,
                           int tokens, int rows) {
    __m128 total[TOKENS] = {_mm_setzero_ps(), _mm_setzero_ps()};
    for (size_t first = 0; first < queries->elements; first += CK_INT16_CHANNELS) {
        const size_t left = queries->elements - first;
        const size_t end = first + (left < CK_INT16_CHANNELS ? left : CK_INT16_CHANNELS);
        __m256i acc[TOKENS][ROWS];
        CK_UNROLL
        for (int t = 0; t < TOKENS; t++) CK_UNROLL
        for (int m = 0; m < ROWS; m++) acc[t][m] = _mm256_setzero_si256();
        for (size_t c = first; c < end; c += 16) {
            CK_UNROLL
            for (int t = 0; t < tokens; t++) {
                const int8_t *at = k + (size_t)t * queries->elements + c;
                const __m256i key = _mm256_cvtepi8_epi16(_mm_load_si128((const __m128i *)at));
                CK_UNROLL
                for (int m = 0; m < rows; m++) {
                    const int16_t *q = queries->q + (size_t)m * queries->elements + c;
                    const __m256i products = _mm256_madd_epi16(key, _mm256_load_si256((const __m256i *)q));
                    acc[t][m] = _mm256_add_epi32(acc[t][m], products);
                }
            }
        }
        CK_UNROLL
        for (int t = 0; t < tokens; t++)
            total[t] = _mm_add_ps(total[t], _mm_cvtepi32_ps(sums4_avx2(acc[t][0], acc[t][1], acc[t][2], acc[t][3])));
    }
    CK_UNROLL
    for (int t = 0; t < tokens; t++) {
        float sums[ROWS];
        _mm_storeu_ps(sums, total[t]);
        CK_UNROLL
        for (int m = 0; m < rows; m++) scores[(size_t)m * stride + (size_t)t] = sums[m] * (scales[t] * queries->steps[m]);
    }
}

void ck_attention_keys_int8_avx2(const ck_kv_span *keys, const ck_attention_queries *queries, float *scores, size_t stride,
                                 void *scratch) {
    const ck_int16_queries all = ck_int16_queries_of(queries, keys->dim, scratch);
    for (size_t part = 0; part < ck_kv_parts(keys->tokens); part++) {
        const size_t tokens = ck_kv_part_tokens(keys, part);
        const int8_t *k = keys->parts[part];
        const float *scales = ck_kv_scales(keys->dim, k);
        for (size_t m = 0; m < queries->rows; m += ROWS) {
            const size_t left = queries->rows - m;
            const ck_int16_queries some = ck_int16_queries_from(&all, m);
            float *target = scores + m * stride + part * CK_KV_TOKENS;
            size_t t = 0;
#define PAIR(rows) scores_avx2(k + t * all.elements, scales + t, &some, target + t, stride, 2, rows)
#define LAST(rows) scores_avx2(k + t * all.elements, scales + t, &some, target + t, stride, 1, rows)
            for (; t + 1 < tokens; t += TOKENS) CK_FOR_ROWS_4(left < ROWS ? left : ROWS, PAIR)
            if (t < tokens) CK_FOR_ROWS_4(left < ROWS ? left : ROWS, LAST)
#undef PAIR
#undef LAST
        }
    }
}

CK_ISA_END
#endif
