// Dwords from rows to columns, 16 x 16 and 16 x 4. Include inside an ISA region.
#pragma once

// Four steps of 16 shuffles: dwords, then pairs of them within quarters, then quarters.
CK_INLINE void ck_transpose16_avx512(__m512 v[16]) {
    __m512 pairs[16], quads[16];
    CK_UNROLL
    for (int i = 0; i < 16; i += 2) {
        pairs[i] = _mm512_unpacklo_ps(v[i], v[i + 1]);
        pairs[i + 1] = _mm512_unpackhi_ps(v[i], v[i + 1]);
    }
    // quads[4 g + c]: column c of every quarter, rows 4 g ... 4 g + 3.
    CK_UNROLL
    for (int g = 0; g < 16; g += 4) CK_UNROLL
    for (int h = 0; h < 2; h++) {
        const __m512d a = _mm512_castps_pd(pairs[g + h]), b = _mm512_castps_pd(pairs[g + 2 + h]);
        quads[g + 2 * h] = _mm512_castpd_ps(_mm512_unpacklo_pd(a, b));
        quads[g + 2 * h + 1] = _mm512_castpd_ps(_mm512_unpackhi_pd(a, b));
    }
    CK_UNROLL
    for (int c = 0; c < 4; c++) {
        const __m512 a = _mm512_shuffle_f32x4(quads[c], quads[4 + c], 0x88),
                     b = _mm512_shuffle_f32x4(quads[8 + c], quads[12 + c], 0x88);
        const __m512 d = _mm512_shuffle_f32x4(quads[c], quads[4 + c], 0xDD),
                     e = _mm512_shuffle_f32x4(quads[8 + c], quads[12 + c], 0xDD);
        v[c] = _mm512_shuffle_f32x4(a, b, 0x88);
        v[8 + c] = _mm512_shuffle_f32x4(a, b, 0xDD);
        v[4 + c] = _mm512_shuffle_f32x4(d, e, 0x88);
        v[12 + c] = _mm512_shuffle_f32x4(d, e, 0xDD);
    }
}

// Scores of 16 tokens with 4 queries: quarter q of tokens[i] has those of token 4 i + q.
CK_INLINE void ck_turn_few_avx512(const __m512i tokens[4], __m512 scores[4]) {
    const __m512i turn = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
    __m512 four[4];
    CK_UNROLL
    for (int i = 0; i < 4; i++) four[i] = _mm512_castsi512_ps(_mm512_permutexvar_epi32(turn, tokens[i]));
    const __m512 a = _mm512_shuffle_f32x4(four[0], four[1], 0x88), b = _mm512_shuffle_f32x4(four[2], four[3], 0x88);
    const __m512 d = _mm512_shuffle_f32x4(four[0], four[1], 0xDD), e = _mm512_shuffle_f32x4(four[2], four[3], 0xDD);
    scores[0] = _mm512_shuffle_f32x4(a, b, 0x88);
    scores[1] = _mm512_shuffle_f32x4(d, e, 0x88);
    scores[2] = _mm512_shuffle_f32x4(a, b, 0xDD);
    scores[3] = _mm512_shuffle_f32x4(d, e, 0xDD);
}
