// 2^x for sixteen floats: support/exp2.h in AVX-512, to the bits of the AVX2 form. Include inside an ISA region.
#pragma once
#include "support/exp2.h"

CK_INLINE __m512 ck_exp2_avx512(__m512 x) {
    const __m512 least = _mm512_set1_ps(CK_EXP2_LEAST);
    const __m512 held = _mm512_min_ps(_mm512_set1_ps(CK_EXP2_MOST), _mm512_max_ps(least, x));
    const __m512 n = _mm512_roundscale_ps(held, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
    const __m512 f = _mm512_sub_ps(held, n);
    __m512 y = _mm512_set1_ps(CK_EXP2_6);
    y = _mm512_fmadd_ps(y, f, _mm512_set1_ps(CK_EXP2_5));
    y = _mm512_fmadd_ps(y, f, _mm512_set1_ps(CK_EXP2_4));
    y = _mm512_fmadd_ps(y, f, _mm512_set1_ps(CK_EXP2_3));
    y = _mm512_fmadd_ps(y, f, _mm512_set1_ps(CK_EXP2_2));
    y = _mm512_fmadd_ps(y, f, _mm512_set1_ps(CK_EXP2_1));
    y = _mm512_fmadd_ps(y, f, _mm512_set1_ps(1.0f));
    const __m512i exponent = _mm512_slli_epi32(_mm512_cvtps_epi32(n), 23);
    y = _mm512_castsi512_ps(_mm512_add_epi32(_mm512_castps_si512(y), exponent));
    return _mm512_maskz_mov_ps(_mm512_cmp_ps_mask(x, least, _CMP_NLT_UQ), y);
}
