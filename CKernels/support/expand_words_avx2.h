// Bitmap expansion of 16-bit values on AVX2: the next popcount(mask) values land in the words whose bits are set, zeros
// elsewhere. Include inside an ISA region, after expand_avx2.h. Loads 16 bytes at a value.
#pragma once

static const uint8_t ck_word_shuffles[256][16] = {MASKS_256(EXPAND_WORDS)};

CK_INLINE __m128i ck_expand8_avx2(uint32_t mask, const uint16_t **value) {
    const __m128i packed = _mm_loadu_si128((const __m128i *)*value);
    *value += __builtin_popcount(mask);
    return _mm_shuffle_epi8(packed, _mm_loadu_si128((const __m128i *)ck_word_shuffles[mask]));
}

CK_INLINE __m256i ck_expand16_avx2(uint32_t mask, const uint16_t **value) {
    const __m128i low = ck_expand8_avx2(mask & 0xFF, value);
    return _mm256_inserti128_si256(_mm256_castsi128_si256(low), ck_expand8_avx2(mask >> 8 & 0xFF, value), 1);
}
