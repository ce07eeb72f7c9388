// Lanes changing places: sums of vectors, and the order that unpacking leaves. Include inside an ISA region.
#pragma once

CK_INLINE __m512 ck_add_unpacked_avx512(__m512 a, __m512 b) {
    return _mm512_add_ps(_mm512_unpacklo_ps(a, b), _mm512_unpackhi_ps(a, b));
}
CK_INLINE __m512 ck_add_unpacked_pairs_avx512(__m512 a, __m512 b) {
    const __m512d x = _mm512_castps_pd(a), y = _mm512_castps_pd(b);
    return _mm512_add_ps(_mm512_castpd_ps(_mm512_unpacklo_pd(x, y)), _mm512_castpd_ps(_mm512_unpackhi_pd(x, y)));
}
CK_INLINE __m512 ck_add_quarters_avx512(__m512 a, __m512 b) {
    return _mm512_add_ps(_mm512_shuffle_f32x4(a, b, 0x88), _mm512_shuffle_f32x4(a, b, 0xDD));
}

// Lane i is the sum of the lanes of v[i], added in the same order for each:
// ((0 + 2) + (1 + 3)) of every quarter, then quarters (0 + 1) + (2 + 3).
CK_INLINE __m512 ck_sums16_avx512(const __m512 v[16]) {
    __m512 quads[4];
    CK_UNROLL
    for (int i = 0; i < 4; i++)
        quads[i] = ck_add_unpacked_pairs_avx512(ck_add_unpacked_avx512(v[4 * i], v[4 * i + 1]),
                                                ck_add_unpacked_avx512(v[4 * i + 2], v[4 * i + 3]));
    return ck_add_quarters_avx512(ck_add_quarters_avx512(quads[0], quads[1]), ck_add_quarters_avx512(quads[2], quads[3]));
}

// The same of integers, which wrap.
CK_INLINE __m512i ck_integer_sums16_avx512(const __m512i v[16]) {
    __m512i sums[16];
    CK_UNROLL
    for (int i = 0; i < 16; i++) sums[i] = v[i];
    CK_UNROLL
    for (int step = 0; step < 4; step++) CK_UNROLL
    for (int i = 0; i < 8 >> step; i++) {
        const __m512 a = _mm512_castsi512_ps(sums[2 * i]), b = _mm512_castsi512_ps(sums[2 * i + 1]);
        const __m512d x = _mm512_castps_pd(a), y = _mm512_castps_pd(b);
        __m512 low, high;
        switch (step) {
        case 0: low = _mm512_unpacklo_ps(a, b), high = _mm512_unpackhi_ps(a, b); break;
        case 1:
            low = _mm512_castpd_ps(_mm512_unpacklo_pd(x, y));
            high = _mm512_castpd_ps(_mm512_unpackhi_pd(x, y));
            break;
        default: low = _mm512_shuffle_f32x4(a, b, 0x88), high = _mm512_shuffle_f32x4(a, b, 0xDD); break;
        }
        sums[i] = _mm512_add_epi32(_mm512_castps_si512(low), _mm512_castps_si512(high));
    }
    return sums[0];
}

// Unpacking two rows of 32 bf16 leaves pairs of channels 0-3, 8-11, 16-19, 24-27 in its low form and 4-7, 12-15, ... in its high
// form. Stores the sums of both, `count` floats (1...32), in order.
CK_INLINE void ck_store_unpacked_avx512(float *target, size_t count, __m512 low, __m512 high) {
    const __m512i first = _mm512_setr_epi32(0, 1, 2, 3, 16, 17, 18, 19, 4, 5, 6, 7, 20, 21, 22, 23);
    const __m512i second = _mm512_add_epi32(first, _mm512_set1_epi32(8));
    const uint32_t mask = count < 32 ? (1u << count) - 1 : UINT32_MAX;
    _mm512_mask_storeu_ps(target, (__mmask16)mask, _mm512_permutex2var_ps(low, first, high));
    if (count > 16) _mm512_mask_storeu_ps(target + 16, (__mmask16)(mask >> 16), _mm512_permutex2var_ps(low, second, high));
}

// The same of even and of odd channels.
CK_INLINE void ck_store_even_odd_avx512(float *target, size_t count, __m512 even, __m512 odd) {
    const __m512i first = _mm512_setr_epi32(0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
    const __m512i second = _mm512_add_epi32(first, _mm512_set1_epi32(8));
    const uint32_t mask = count < 32 ? (1u << count) - 1 : UINT32_MAX;
    _mm512_mask_storeu_ps(target, (__mmask16)mask, _mm512_permutex2var_ps(even, first, odd));
    if (count > 16) _mm512_mask_storeu_ps(target + 16, (__mmask16)(mask >> 16), _mm512_permutex2var_ps(even, second, odd));
}
