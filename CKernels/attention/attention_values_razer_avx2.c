// Sums of RaZeR values, AVX2. p takes the scales of each group of channels in. Two tokens of eight channels come out of half a
// line at a time, doubled, become fp32, and meet their elements of up to four rows of p: eight chains of multiply-adds.
#include "attention/razer_rows.h"
#include "support/isa.h"

#if CK_X86
#include "support/for_rows.h"

enum { ROWS = 4, CHANNELS = 8 };

// For four rows the weights of a group.
size_t ck_attention_values_razer_avx2_scratch(size_t rows, size_t dim) {
    (void)rows;
    (void)dim;
    return ROWS * CK_ATTENTION_CHUNK * sizeof(float);
}

CK_ISA_BEGIN(avx2)
// Half of what 1 is worth for 8 tokens, because codes are looked up doubled.
CK_INLINE __m256 half_units_avx2(const uint8_t *scales, const uint8_t *exponents) {
    const __m256i scale = _mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i *)scales));
    const __m256i bits = _mm256_slli_epi32(_mm256_and_si256(scale, _mm256_set1_epi32(0x7F)), 20);
    const __m256i power = _mm256_slli_epi32(_mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i *)exponents)), 23);
    return _mm256_mul_ps(_mm256_castsi256_ps(_mm256_add_epi32(bits, _mm256_set1_epi32(119 << 23))), _mm256_castsi256_ps(power));
}

// What some rows of p are for a group of channels; 0 behind the last token, whatever its scale is.
static void weigh_avx2(const ck_kv_span *values, size_t group, const float *p, size_t p_stride, float *weights, size_t rows) {
    const __m256i lanes = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
    for (size_t t = 0; t < ck_kv_parts(values->tokens) * CK_KV_TOKENS; t += 8) {
        const void *part = values->parts[t / CK_KV_TOKENS];
        const size_t slot = t % CK_KV_TOKENS;
        const __m256 unit = half_units_avx2(ck_razer_value_scales(part, group) + slot,
                                            ck_razer_exponents(CK_KV_RAZER_VALUES, values->dim, part) + slot);
        const __m256i left = _mm256_set1_epi32((int)values->tokens - (int)t);
        const __m256 seen = _mm256_castsi256_ps(_mm256_cmpgt_epi32(left, lanes));
        for (size_t m = 0; m < rows; m++) {
            const __m256 weight = _mm256_mul_ps(_mm256_loadu_ps(p + m * p_stride + t), unit);
            _mm256_store_ps(weights + m * CK_ATTENTION_CHUNK + t, _mm256_and_ps(weight, seen));
        }
    }
}

// Two tokens of 8 channels, doubled: `codes` has them in the low nibbles of its words, `negative` is -1 in the words of a token
// whose special value is negative.
CK_INLINE __m256i look_up_avx2(__m256i table, __m256i codes, __m256i negative) {
    const __m256i bytes = _mm256_shuffle_epi8(table, _mm256_and_si256(codes, _mm256_set1_epi16(15)));
    const __m256i values = _mm256_srai_epi16(_mm256_slli_epi16(bytes, 8), 8);
    const __m256i turned = _mm256_and_si256(_mm256_cmpeq_epi16(values, _mm256_set1_epi16(10)), negative);
    return _mm256_sub_epi16(_mm256_xor_si256(values, turned), turned);
}

// -1 in the words of each of two tokens whose special value is negative: the sign of its stored scale.
CK_INLINE __m256i negative_avx2(const uint8_t *scales) {
    const uint32_t first = scales[0] & 0x80 ? 0xFFFF : 0, second = scales[1] & 0x80 ? 0xFFFF0000 : 0;
    return _mm256_set1_epi32((int32_t)(first | second));
}

// Channels `first` ... `first` + 7 of a group with `rows` rows of weights, a constant.
CK_INLINE void channels_avx2(const ck_kv_span *values, size_t group, size_t first, const float *weights, float sums[][CHANNELS],
                             int rows) {
    const __m256i table = _mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i *)ck_razer_doubled));
    __m256 even[ROWS], odd[ROWS];
    CK_UNROLL
    for (int m = 0; m < rows; m++) even[m] = odd[m] = _mm256_setzero_ps();
    for (size_t t = 0; t < values->tokens; t += CK_RAZER_LINE_TOKENS) {
        const void *part = values->parts[t / CK_KV_TOKENS];
        const size_t slot = t % CK_KV_TOKENS;
        const uint8_t *scales = ck_razer_value_scales(part, group) + slot;
        const __m256i line = _mm256_load_si256((const __m256i *)(ck_razer_value_group(part, group) + slot * 8 + first * 4));
        CK_UNROLL
        for (int i = 0; i < 4; i++) {
            const __m256i pairs = look_up_avx2(table, _mm256_srli_epi16(line, 4 * i), negative_avx2(scales + 2 * i));
            const __m256 one = _mm256_cvtepi32_ps(_mm256_srai_epi32(_mm256_slli_epi32(pairs, 16), 16));
            const __m256 two = _mm256_cvtepi32_ps(_mm256_srai_epi32(pairs, 16));
            CK_UNROLL
            for (int m = 0; m < rows; m++) {
                const float *weight = weights + m * CK_ATTENTION_CHUNK + t + 2 * i;
                even[m] = _mm256_fmadd_ps(one, _mm256_broadcast_ss(weight), even[m]);
                odd[m] = _mm256_fmadd_ps(two, _mm256_broadcast_ss(weight + 1), odd[m]);
            }
        }
    }
    CK_UNROLL
    for (int m = 0; m < rows; m++) _mm256_storeu_ps(sums[m], _mm256_add_ps(even[m], odd[m]));
}

void ck_attention_values_razer_avx2(const ck_kv_span *values, size_t rows, const float *p, size_t p_stride, float *y,
                                    size_t y_stride, void *scratch) {
    for (size_t m = 0; m < rows; m += ROWS) {
        const size_t some = rows - m < ROWS ? rows - m : ROWS;
        for (size_t channel = 0; channel < values->dim; channel += CHANNELS) {
            const size_t group = channel / CK_RAZER_GROUP, first = channel % CK_RAZER_GROUP;
            if (first == 0) weigh_avx2(values, group, p + m * p_stride, p_stride, scratch, some);
            float sums[ROWS][CHANNELS];
#define CALL(count) channels_avx2(values, group, first, scratch, sums, count)
            CK_FOR_ROWS_4(some, CALL)
#undef CALL
            for (size_t row = 0; row < some; row++)
                for (size_t i = 0; i < CHANNELS && channel + i < values->dim; i++)
                    y[(m + row) * y_stride + channel + i] = sums[row][i];
        }
    }
}

CK_ISA_END
#endif
