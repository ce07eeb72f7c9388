// The order that unpacking the rows of four tokens leaves, mended. Include inside an ISA region.
#pragma once

// `count` floats (1 or more; 64 at most are stored) of four vectors: quarter q of vector i has channels 16 q + 4 i ... + 3.
CK_INLINE void ck_store_quarters_avx512(float *target, size_t count, const float *sums) {
    const __m512 a = _mm512_load_ps(sums), b = _mm512_load_ps(sums + 16);
    const __m512 c = _mm512_load_ps(sums + 32), d = _mm512_load_ps(sums + 48);
    const __m512 ab_low = _mm512_shuffle_f32x4(a, b, 0x44), ab_high = _mm512_shuffle_f32x4(a, b, 0xEE);
    const __m512 cd_low = _mm512_shuffle_f32x4(c, d, 0x44), cd_high = _mm512_shuffle_f32x4(c, d, 0xEE);
    const __m512 ordered[4] = {
        _mm512_shuffle_f32x4(ab_low, cd_low, 0x88),
        _mm512_shuffle_f32x4(ab_low, cd_low, 0xDD),
        _mm512_shuffle_f32x4(ab_high, cd_high, 0x88),
        _mm512_shuffle_f32x4(ab_high, cd_high, 0xDD),
    };
    CK_UNROLL
    for (size_t q = 0; q < 4; q++) {
        if (count <= 16 * q) continue;
        const size_t left = count - 16 * q;
        _mm512_mask_storeu_ps(target + 16 * q, (__mmask16)(left < 16 ? (1u << left) - 1 : 0xFFFF), ordered[q]);
    }
}
