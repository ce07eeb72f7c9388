// 2^x for eight floats: support/exp2.h in AVX2. Include inside an ISA region.
#pragma once
#include "support/exp2.h"

CK_INLINE __m256 ck_exp2_avx2(__m256 x) {
    // Minimum and maximum return their second operand when either is NaN.
    const __m256 least = _mm256_set1_ps(CK_EXP2_LEAST);
    const __m256 held = _mm256_min_ps(_mm256_set1_ps(CK_EXP2_MOST), _mm256_max_ps(least, x));
    const __m256 n = _mm256_round_ps(held, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
    const __m256 f = _mm256_sub_ps(held, n);
    __m256 y = _mm256_set1_ps(CK_EXP2_6);
    y = _mm256_fmadd_ps(y, f, _mm256_set1_ps(CK_EXP2_5));
    y = _mm256_fmadd_ps(y, f, _mm256_set1_ps(CK_EXP2_4));
    y = _mm256_fmadd_ps(y, f, _mm256_set1_ps(CK_EXP2_3));
    y = _mm256_fmadd_ps(y, f, _mm256_set1_ps(CK_EXP2_2));
    y = _mm256_fmadd_ps(y, f, _mm256_set1_ps(CK_EXP2_1));
    y = _mm256_fmadd_ps(y, f, _mm256_set1_ps(1.0f));
    // n = 128 comes with y <= 1 and gives infinity at 1; n = -126 comes with y >= 1. NaN becomes a number that ends in 0 bits.
    const __m256i exponent = _mm256_slli_epi32(_mm256_cvtps_epi32(n), 23);
    y = _mm256_castsi256_ps(_mm256_add_epi32(_mm256_castps_si256(y), exponent));
    return _mm256_andnot_ps(_mm256_cmp_ps(x, least, _CMP_LT_OQ), y);
}
