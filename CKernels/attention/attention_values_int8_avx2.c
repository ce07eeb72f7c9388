// Sums of int8 values, AVX2. For each part a row of p, times the scales of the tokens, becomes 16-bit integers of one step;
// unpacking the widened rows of two tokens makes the pairs that VPMADDWD multiplies with two tokens of it. The sums of a part are
// exact in int32 and join those in fp32 with one multiply-add. Four rows of p by 16 channels are eight chains. The lines of a
// part are used channel block by channel block, so the next part is asked for in the order of its memory meanwhile.
#include <math.h>
#include "attention/kv_rows.h"
#include "support/isa.h"

#if CK_X86
#include "support/for_rows.h"

enum { ROWS = 4, WEIGHT_BYTES = CK_KV_TOKENS * sizeof(int16_t) };

// Sums, the weights of a part, and what their steps are worth.
size_t ck_attention_values_int8_avx2_scratch(size_t rows, size_t dim) {
    return rows * (ck_kv_row_bytes(CK_KV_INT8, dim) * sizeof(float) + WEIGHT_BYTES) + (rows * sizeof(float) + 63) / 64 * 64;
}

CK_ISA_BEGIN(avx2)
#include "attention/int16_rows.h"

CK_INLINE __m256i broadcast_pair_avx2(const char *weights) {
    int32_t pair;
    memcpy(&pair, weights, sizeof pair);
    return _mm256_set1_epi32(pair);
}

CK_INLINE __m256i widen_avx2(const int8_t *at) { return _mm256_cvtepi8_epi16(_mm_load_si128((const __m128i *)at)); }

CK_INLINE void add_avx2(float *sum, __m256i part, float step) {
    _mm256_store_ps(sum, _mm256_fmadd_ps(_mm256_cvtepi32_ps(part), _mm256_set1_ps(step), _mm256_load_ps(sum)));
}

typedef struct {
    const char *weights;
    const float *steps;
    float *sums;
    size_t elements;  // of a row of values, padded
} work_avx2;

// 16 channels of a part: sums += step * (weights . v), channels 0-3 and 8-11 before 4-7 and 12-15.
CK_INLINE void sums_avx2(const int8_t *v, size_t tokens, const work_avx2 *work, size_t c, const char *next, int rows) {
    __m256i low[ROWS], high[ROWS];
    CK_UNROLL
    for (int m = 0; m < rows; m++) low[m] = high[m] = _mm256_setzero_si256();
    // The token behind an odd last one has weight 0.
    for (size_t t = 0; t < tokens; t += 2) {
        const int8_t *at = v + t * work->elements + c;
        const __m256i one = widen_avx2(at), two = widen_avx2(at + work->elements);
        if (t % 4 == 0) _mm_prefetch(next + t / 4 * 64, _MM_HINT_T0);
        const __m256i first = _mm256_unpacklo_epi16(one, two), second = _mm256_unpackhi_epi16(one, two);
        CK_UNROLL
        for (int m = 0; m < rows; m++) {
            const __m256i pair = broadcast_pair_avx2(work->weights + m * WEIGHT_BYTES + 2 * t);
            low[m] = _mm256_add_epi32(low[m], _mm256_madd_epi16(first, pair));
            high[m] = _mm256_add_epi32(high[m], _mm256_madd_epi16(second, pair));
        }
    }
    CK_UNROLL
    for (int m = 0; m < rows; m++) {
        float *sum = work->sums + (size_t)m * work->elements + c;
        add_avx2(sum, low[m], work->steps[m]);
        add_avx2(sum + 8, high[m], work->steps[m]);
    }
}

void ck_attention_values_int8_avx2(const ck_kv_span *values, size_t rows, const float *p, size_t p_stride, float *y,
                                   size_t y_stride, void *scratch) {
    const size_t elements = ck_kv_row_bytes(CK_KV_INT8, values->dim), parts = ck_kv_parts(values->tokens);
    float *sums = scratch;
    char *weights = (char *)(sums + rows * elements);
    float *steps = (float *)(weights + rows * WEIGHT_BYTES);
    memset(sums, 0, rows * elements * sizeof(float));
    for (size_t part = 0; part < parts; part++) {
        const int8_t *v = values->parts[part];
        const size_t tokens = ck_kv_part_tokens(values, part);
        const char *next = values->parts[part + 1 < parts ? part + 1 : part];
        for (size_t m = 0; m < rows; m++)
            steps[m] = ck_int16_weights(p + m * p_stride + part * CK_KV_TOKENS, ck_kv_scales(values->dim, v), tokens,
                                        (int16_t *)(weights + m * WEIGHT_BYTES));
        for (size_t m = 0; m < rows; m += ROWS) {
            const size_t left = rows - m;
            const work_avx2 work = {weights + m * WEIGHT_BYTES, steps + m, sums + m * elements, elements};
            for (size_t c = 0; c < elements; c += 16) {
#define CALL(count) sums_avx2(v, tokens, &work, c, next + c * CK_KV_TOKENS, count)
                CK_FOR_ROWS_4(left < ROWS ? left : ROWS, CALL)
#undef CALL
            }
        }
    }
    for (size_t m = 0; m < rows; m++)
        for (size_t c = 0; c < values->dim; c++) {
            const size_t i = c % 16, place = i / 8 * 4 + i / 4 % 2 * 8 + i % 4;
            y[m * y_stride + c] = sums[m * elements + c / 16 * 16 + place];
        }
}

CK_ISA_END
#endif
