// Scores of int8 keys, AVX-512 VNNI. The queries are 16-bit integers of a step of their own, the keys are widened to 16 bits, and
// VPDPWSSD adds up their products in int32, exactly. 16 chains at a time, tokens by queries: 4 x 4, 8 x 2 or 16 x 1; their 16
// sums come out of one tree of additions as one vector, a query's tokens side by side.
#include <math.h>
#include "attention/kv_rows.h"
#include "support/isa.h"

#if CK_X86
#include "support/for_rows.h"

// Queries, and what their steps are worth.
size_t ck_attention_keys_int8_avx512vnni_scratch(size_t rows, size_t dim) {
    return rows * 2 * ck_kv_row_bytes(CK_KV_INT8, dim) + (rows * sizeof(float) + 63) / 64 * 64;
}

CK_ISA_BEGIN(avx512vnni)
#include "attention/int16_rows.h"
#include "attention/kv_ahead.h"
#include "attention/lanes_avx512.h"

enum { CHAINS = 16, MOST_ROWS = 4 };

// Tokens that `rows` queries meet at once.
CK_INLINE int tokens_avx512(int rows) { return rows > 2 ? 4 : CHAINS / rows; }

// Sums of the products of channels first ... end - 1, at most CK_INT16_CHANNELS: lane m * tokens + t.
CK_INLINE __m512i sums_avx512(const int8_t *k, const ck_int16_queries *queries, size_t first, size_t end, int rows) {
    const int tokens = tokens_avx512(rows);
    __m512i acc[CHAINS];
    CK_UNROLL
    for (int i = 0; i < CHAINS; i++) acc[i] = _mm512_setzero_si512();
    for (size_t c = first; c < end; c += 32) {
        __m512i query[MOST_ROWS];
        CK_UNROLL
        for (int m = 0; m < rows; m++) query[m] = _mm512_load_si512(queries->q + (size_t)m * queries->elements + c);
        CK_UNROLL
        for (int t = 0; t < tokens; t++) {
            const __m512i key = _mm512_cvtepi8_epi16(_mm256_loadu_si256((const void *)(k + (size_t)t * queries->elements + c)));
            CK_UNROLL
            for (int m = 0; m < rows; m++) acc[m * tokens + t] = _mm512_dpwssd_epi32(acc[m * tokens + t], key, query[m]);
        }
    }
    return ck_integer_sums16_avx512(acc);
}

// Tokens whose rows begin at k and whose scales at `scales`, against `rows` queries, a constant.
CK_INLINE void scores_avx512(const int8_t *k, const float *scales, const ck_int16_queries *queries, float *scores, size_t stride,
                             int rows) {
    const int tokens = tokens_avx512(rows);
    __m512 sum = _mm512_setzero_ps();
    for (size_t first = 0; first < queries->elements; first += CK_INT16_CHANNELS) {
        const size_t left = queries->elements - first;
        const size_t end = first + (left < CK_INT16_CHANNELS ? left : CK_INT16_CHANNELS);
        sum = _mm512_add_ps(sum, _mm512_cvtepi32_ps(sums_avx512(k, queries, first, end, rows)));
    }
    const uint32_t lanes = (1u << tokens) - 1;
    CK_UNROLL
    for (int m = 0; m < rows; m++) {
        // Moved back by m * tokens elements, the lanes of row m are their tokens.
        const __mmask16 mask = (__mmask16)(lanes << m * tokens);
        const __m512 unit = _mm512_mul_ps(_mm512_maskz_loadu_ps(mask, scales - m * tokens), _mm512_set1_ps(queries->steps[m]));
        _mm512_mask_storeu_ps(scores + (size_t)m * stride - m * tokens, mask, _mm512_mul_ps(sum, unit));
    }
}

// All tokens of a part; the last few at once may be more than it has.
CK_INLINE void part_avx512(const ck_kv_span *keys, size_t part, const ck_int16_queries *queries, float *scores, size_t stride,
                           ck_kv_ahead *ahead, int rows) {
    const size_t step = (size_t)tokens_avx512(rows), tokens = ck_kv_part_tokens(keys, part);
    const int8_t *k = keys->parts[part];
    const float *scales = ck_kv_scales(keys->dim, k);
    if (ahead) ck_kv_ahead_lines(ahead, CK_KV_TOKENS * sizeof(float) / 64);
    for (size_t t = 0; t < tokens; t += step) {
        if (ahead) ck_kv_ahead_lines(ahead, step * queries->elements / 64);
        scores_avx512(k + t * queries->elements, scales + t, queries, scores + t, stride, rows);
    }
}

void ck_attention_keys_int8_avx512vnni(const ck_kv_span *keys, const ck_attention_queries *queries, float *scores, size_t stride,
                                       void *scratch) {
    const ck_int16_queries all = ck_int16_queries_of(queries, keys->dim, scratch);
    ck_kv_ahead ahead = ck_kv_ahead_begin(keys, ck_kv_part_bytes(CK_KV_INT8, keys->dim));
    for (size_t part = 0; part < ck_kv_parts(keys->tokens); part++)
        for (size_t m = 0; m < queries->rows; m += MOST_ROWS) {
            const size_t left = queries->rows - m;
            const ck_int16_queries some = ck_int16_queries_from(&all, m);
            float *target = scores + m * stride + part * CK_KV_TOKENS;
#define CALL(rows) part_avx512(keys, part, &some, target, stride, m == 0 ? &ahead : NULL, rows)
            CK_FOR_ROWS_4(left < MOST_ROWS ? left : MOST_ROWS, CALL)
#undef CALL
        }
}

CK_ISA_END
#endif
