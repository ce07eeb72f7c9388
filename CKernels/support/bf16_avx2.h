// AVX2 has no bf16 arithmetic: a bf16 is the upper half of a float, so a shift and a mask make two floats of a pair. Include
// inside an ISA region.
#pragma once

CK_INLINE __m256 ck_even_avx2(__m256i pairs) { return _mm256_castsi256_ps(_mm256_slli_epi32(pairs, 16)); }
CK_INLINE __m256 ck_odd_avx2(__m256i pairs) {
    return _mm256_castsi256_ps(_mm256_and_si256(pairs, _mm256_set1_epi32((int)0xFFFF0000)));
}
