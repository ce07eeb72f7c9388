// Scores of RaZeR keys, AVX2. Two tokens at a time are looked up with their scales as bf16, byte by byte, and widened to fp32,
// the even channels of every 16 before the odd ones; the queries are laid out the same way once a call. Two tokens against
// up to four queries: eight chains of multiply-adds.
#include "attention/razer_rows.h"
#include "support/isa.h"

#if CK_X86
#include "support/for_rows.h"

enum { TOKENS = 2, ROWS = 4 };

// Queries, and two keys.
size_t ck_attention_keys_razer_avx2_scratch(size_t rows, size_t dim) {
    return (rows + TOKENS) * ck_razer_blocks(dim) * CK_RAZER_BLOCK * sizeof(float);
}

CK_ISA_BEGIN(avx2)
#include "support/bf16_avx2.h"
#include "attention/queries_avx2.h"

// 16 channels whose codes are the low nibbles of words, as fp32.
CK_INLINE void look_up_avx2(__m256i codes, uint8_t scale, float *target) {
    const __m128i *row = (const __m128i *)ck_razer_scaled[scale];
    const __m128i a = _mm_load_si128(row), b = _mm_load_si128(row + 1), byte = _mm_set1_epi16(0xFF);
    const __m128i low = _mm_packus_epi16(_mm_and_si128(a, byte), _mm_and_si128(b, byte));
    const __m128i high = _mm_packus_epi16(_mm_srli_epi16(a, 8), _mm_srli_epi16(b, 8));
    // An index with its highest bit gives 0.
    const __m256i index = _mm256_and_si256(codes, _mm256_set1_epi16(15));
    const __m256i lower = _mm256_or_si256(index, _mm256_set1_epi16((int16_t)0x8000));
    const __m256i upper = _mm256_or_si256(_mm256_slli_epi16(index, 8), _mm256_set1_epi16(0x80));
    const __m256i values = _mm256_or_si256(_mm256_shuffle_epi8(_mm256_broadcastsi128_si256(low), lower),
                                           _mm256_shuffle_epi8(_mm256_broadcastsi128_si256(high), upper));
    _mm256_store_ps(target, ck_even_avx2(values));
    _mm256_store_ps(target + 8, ck_odd_avx2(values));
}

static void look_up_token_avx2(const uint8_t *part, const uint8_t *scales, size_t token, size_t blocks, float *target) {
    for (size_t block = token * blocks; block < (token + 1) * blocks; block++)
        for (size_t half = 0; half < 2; half++, target += CK_RAZER_GROUP) {
            const __m256i line = _mm256_load_si256((const __m256i *)(part + block / 4 * 64 + 32 * half));
            const __m128i shift = _mm_cvtsi32_si128((int)(block % 4 * 4));
            look_up_avx2(_mm256_srl_epi16(line, shift), scales[2 * block + half], target);
        }
}

// `tokens` keys against `rows` queries; both counts are constants.
CK_INLINE void scores_avx2(const float *k, size_t elements, const float *q, const uint8_t *exponents, float *scores,
                           size_t stride, int tokens, int rows) {
    __m256 acc[TOKENS][ROWS];
    CK_UNROLL
    for (int t = 0; t < TOKENS; t++) CK_UNROLL
    for (int m = 0; m < ROWS; m++) acc[t][m] = _mm256_setzero_ps();
    for (size_t c = 0; c < elements; c += 8) {
        CK_UNROLL
        for (int m = 0; m < rows; m++) {
            const __m256 query = _mm256_load_ps(q + (size_t)m * elements + c);
            CK_UNROLL
            for (int t = 0; t < tokens; t++)
                acc[t][m] = _mm256_fmadd_ps(_mm256_load_ps(k + (size_t)t * elements + c), query, acc[t][m]);
        }
    }
    CK_UNROLL
    for (int t = 0; t < tokens; t++) {
        float sums[ROWS];
        _mm_storeu_ps(sums, ck_sums4_avx2(acc[t][0], acc[t][1], acc[t][2], acc[t][3]));
        CK_UNROLL
        for (int m = 0; m < rows; m++) scores[(size_t)m * stride + (size_t)t] = sums[m] * ck_razer_power(exponents[t]);
    }
}

void ck_attention_keys_razer_avx2(const ck_kv_span *keys, const ck_attention_queries *queries, float *scores, size_t stride,
                                  void *scratch) {
    const size_t blocks = ck_razer_blocks(keys->dim), elements = blocks * CK_RAZER_BLOCK;
    float *q = scratch, *k = q + queries->rows * elements;
    ck_queries_even_odd_avx2(queries, keys->dim, elements, q);
    for (size_t t = 0; t < keys->tokens; t += TOKENS) {
        const uint8_t *part = keys->parts[t / CK_KV_TOKENS], *scales = ck_razer_key_scales(keys->dim, part);
        const uint8_t *exponents = ck_razer_exponents(CK_KV_RAZER_KEYS, keys->dim, part) + t % CK_KV_TOKENS;
        const int both = t + 1 < keys->tokens;
        for (size_t i = 0; i < (both ? TOKENS : 1); i++)
            look_up_token_avx2(part, scales, t % CK_KV_TOKENS + i, blocks, k + i * elements);
        for (size_t m = 0; m < queries->rows; m += ROWS) {
            const size_t left = queries->rows - m;
            float *target = scores + m * stride + t;
#define PAIR(rows) scores_avx2(k, elements, q + m * elements, exponents, target, stride, 2, rows)
#define LAST(rows) scores_avx2(k, elements, q + m * elements, exponents, target, stride, 1, rows)
            if (both) CK_FOR_ROWS_4(left < ROWS ? left : ROWS, PAIR)
            else CK_FOR_ROWS_4(left < ROWS ? left : ROWS, LAST)
#undef PAIR
#undef LAST
        }
    }
}

CK_ISA_END
#endif
