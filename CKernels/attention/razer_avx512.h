// Codes of RaZeR rows looked up in AVX-512: a shift, a merge and one permute for 32 of them. Include inside an ISA region.
#pragma once

// 32 channels of a key, times their scales, as bf16. `codes` has them in the low nibbles of its words; words 0 ... 15 share the
// scale scales[0], the others scales[1].
CK_INLINE __m512i ck_razer_key_avx512(__m512i codes, const uint8_t *scales) {
    const __m512i second = _mm512_inserti64x4(_mm512_setzero_si512(), _mm256_set1_epi16(16), 1);
    const __m256i low = _mm256_loadu_si256((const void *)ck_razer_scaled[scales[0]]);
    const __m256i high = _mm256_loadu_si256((const void *)ck_razer_scaled[scales[1]]);
    const __m512i table = _mm512_inserti64x4(_mm512_castsi256_si512(low), high, 1);
    // (codes AND 15) OR second
    return _mm512_permutexvar_epi16(_mm512_ternarylogic_epi32(codes, _mm512_set1_epi16(15), second, 0xEA), table);
}

// The same of block `block` of a part: the blocks of 32 channels of all tokens, four to a line, nibble after nibble.
CK_INLINE __m512i ck_razer_key_block_avx512(const uint8_t *part, const uint8_t *scales, size_t block) {
    const __m512i line = _mm512_load_si512(part + block / 4 * 64);
    return ck_razer_key_avx512(_mm512_srlv_epi16(line, _mm512_set1_epi16((int16_t)(block % 4 * 4))), scales + 2 * block);
}

// All values without their scales, as bf16, and the same with the negative special value.
CK_INLINE __m512i ck_razer_value_table_avx512(void) {
    const __m256i positive = _mm256_loadu_si256((const void *)ck_razer_scaled[CK_RAZER_ONE]);
    const __m256i negative = _mm256_loadu_si256((const void *)ck_razer_scaled[CK_RAZER_ONE | 0x80]);
    return _mm512_inserti64x4(_mm512_castsi256_si512(positive), negative, 1);
}

// Two tokens of 16 channels, without their scales. `codes` has them in the low nibbles of its words; `special` has, for each of
// the two, 16 where its special value is negative.
CK_INLINE __m512i ck_razer_values_avx512(__m512i table, __m512i codes, const uint16_t *special) {
    int32_t pair;
    memcpy(&pair, special, sizeof pair);
    return _mm512_permutexvar_epi16(_mm512_ternarylogic_epi32(codes, _mm512_set1_epi16(15), _mm512_set1_epi32(pair), 0xEA),
                                    table);
}

// `special` of 32 tokens whose stored scales begin at `scales`.
CK_INLINE void ck_razer_special_avx512(const uint8_t *scales, uint16_t special[32]) {
    const __m512i wide = _mm512_cvtepu8_epi16(_mm256_loadu_si256((const void *)scales));
    _mm512_storeu_si512(special, _mm512_and_si512(_mm512_srli_epi16(wide, 3), _mm512_set1_epi16(16)));
    // Broadcast from memory they cost nothing; the compiler would take them out of the register, by two shuffles each.
    __asm__ volatile("" : "+m"(*(uint16_t (*)[32])special));
}

// What 1 is worth for 16 tokens: their stored scales times 2^(exponent - 127).
CK_INLINE __m512 ck_razer_scales_avx512(const uint8_t *scales, __m512 powers) {
    const __m512i wide = _mm512_cvtepu8_epi32(_mm_loadu_si128((const void *)scales));
    const __m512i bits = _mm512_slli_epi32(_mm512_and_si512(wide, _mm512_set1_epi32(0x7F)), 20);
    return _mm512_mul_ps(_mm512_castsi512_ps(_mm512_add_epi32(bits, _mm512_set1_epi32(120 << 23))), powers);
}

// 2^(exponent - 127) of 16 tokens.
CK_INLINE __m512 ck_razer_powers_avx512(const uint8_t *exponents) {
    const __m512i wide = _mm512_cvtepu8_epi32(_mm_loadu_si128((const void *)exponents));
    return _mm512_castsi512_ps(_mm512_slli_epi32(wide, 23));
}
