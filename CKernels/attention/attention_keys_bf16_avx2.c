// Scores of bf16 keys, AVX2. A line of 16 bf16 gives 8 even and 8 odd channels by a shift and a mask; the queries are laid out
// the same way once a call. Two tokens against up to four queries: eight chains of multiply-adds, which hide their latency.
#include "attention/kv_rows.h"
#include "support/isa.h"

#if CK_X86
#include "support/for_rows.h"

size_t ck_attention_keys_bf16_avx2_scratch(size_t rows, size_t dim) {
    return rows * ck_kv_row_bytes(CK_KV_BF16, dim) / 2 * sizeof(float);
}

CK_ISA_BEGIN(avx2)
#include "support/bf16_avx2.h"
#include "attention/queries_avx2.h"

enum { TOKENS = 2, ROWS = 4 };

// Tokens whose rows begin at k, against `rows` queries; both counts are constants.
CK_INLINE void scores_avx2(const uint16_t *k, size_t row_elements, const float *q, float *scores, size_t stride, int tokens,
                           int rows) {
    __m256 acc[TOKENS][ROWS];
    CK_UNROLL
    for (int t = 0; t < TOKENS; t++) CK_UNROLL
    for (int m = 0; m < ROWS; m++) acc[t][m] = _mm256_setzero_ps();
    for (size_t c = 0; c < row_elements; c += 16) {
        CK_UNROLL
        for (int t = 0; t < tokens; t++) {
            const __m256i line = _mm256_load_si256((const __m256i *)(k + (size_t)t * row_elements + c));
            const __m256 even = ck_even_avx2(line), odd = ck_odd_avx2(line);
            CK_UNROLL
            for (int m = 0; m < rows; m++) {
                const float *at = q + (size_t)m * row_elements + c;
                acc[t][m] = _mm256_fmadd_ps(even, _mm256_load_ps(at), acc[t][m]);
                acc[t][m] = _mm256_fmadd_ps(odd, _mm256_load_ps(at + 8), acc[t][m]);
            }
        }
    }
    CK_UNROLL
    for (int t = 0; t < tokens; t++) {
        float sums[ROWS];
        _mm_storeu_ps(sums, ck_sums4_avx2(acc[t][0], acc[t][1], acc[t][2], acc[t][3]));
        CK_UNROLL
        for (int m = 0; m < rows; m++) scores[(size_t)m * stride + (size_t)t] = sums[m];
    }
}

void ck_attention_keys_bf16_avx2(const ck_kv_span *keys, const ck_attention_queries *queries, float *scores, size_t stride,
                                 void *scratch) {
    const size_t row_elements = ck_kv_row_bytes(CK_KV_BF16, keys->dim) / 2;
    ck_queries_even_odd_avx2(queries, keys->dim, row_elements, scratch);
    for (size_t part = 0; part < ck_kv_parts(keys->tokens); part++) {
        const size_t tokens = ck_kv_part_tokens(keys, part);
        for (size_t m = 0; m < queries->rows; m += ROWS) {
            const size_t left = queries->rows - m;
            const float *q = (const float *)scratch + m * row_elements;
            float *target = scores + m * stride + part * CK_KV_TOKENS;
            const uint16_t *k = keys->parts[part];
            size_t t = 0;
#define PAIR(rows) scores_avx2(k + t * row_elements, row_elements, q, target + t, stride, 2, rows)
#define LAST(rows) scores_avx2(k + t * row_elements, row_elements, q, target + t, stride, 1, rows)
            for (; t + 1 < tokens; t += TOKENS) CK_FOR_ROWS_4(left < ROWS ? left : ROWS, PAIR)
            if (t < tokens) CK_FOR_ROWS_4(left < ROWS ? left : ROWS, LAST)
#undef PAIR
#undef LAST
        }
    }
}

CK_ISA_END
#endif
