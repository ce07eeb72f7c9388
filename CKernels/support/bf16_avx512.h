// Rounding to bf16 in AVX-512. Include inside an ISA region.
#pragma once

// The rounding of support/bf16.h, 16 at a time; VCVTNEPS2BF16 would flush denormals.
CK_INLINE __m256i ck_round_bf16_avx512(__m512 value) {
    const __m512i bits = _mm512_castps_si512(value);
    const __m512i odd = _mm512_and_si512(_mm512_srli_epi32(bits, 16), _mm512_set1_epi32(1));
    const __m512i rounded = _mm512_srli_epi32(_mm512_add_epi32(bits, _mm512_add_epi32(odd, _mm512_set1_epi32(0x7FFF))), 16);
    const __m512i quiet = _mm512_or_si512(_mm512_srli_epi32(bits, 16), _mm512_set1_epi32(0x40));
    const __mmask16 nan = _mm512_cmp_ps_mask(value, value, _CMP_UNORD_Q);
    return _mm512_cvtepi32_epi16(_mm512_mask_blend_epi32(nan, rounded, quiet));
}

// 32 bf16: `count` floats (0...32) from `at` on, then zeros.
CK_INLINE __m512i ck_round_line_avx512(const float *at, size_t count) {
    const uint32_t mask = count < 32 ? (1u << count) - 1 : UINT32_MAX;
    const __m256i low = ck_round_bf16_avx512(_mm512_maskz_loadu_ps((__mmask16)mask, at));
    const __m256i high = ck_round_bf16_avx512(_mm512_maskz_loadu_ps((__mmask16)(mask >> 16), at + 16));
    return _mm512_inserti64x4(_mm512_castsi256_si512(low), high, 1);
}
