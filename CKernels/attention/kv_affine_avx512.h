// Codes of few bits become bf16, 32 at a time. Include inside an ISA region of AVX-512 with VBMI.
#pragma once
#include "attention/kv_affine.h"

// The integers 0...15 and -16...-1 as bf16: what the low five bits of a word stand for.
CK_INLINE __m512i ck_affine_table_avx512(void) {
    static const _Alignas(64)
        uint16_t table[32] = {0x0000, 0x3F80, 0x4000, 0x4040, 0x4080, 0x40A0, 0x40C0, 0x40E0, 0x4100, 0x4110, 0x4120,
                              0x4130, 0x4140, 0x4150, 0x4160, 0x4170, 0xC180, 0xC170, 0xC160, 0xC150, 0xC140, 0xC130,
                              0xC120, 0xC110, 0xC100, 0xC0E0, 0xC0C0, 0xC0A0, 0xC080, 0xC040, 0xC000, 0xBF80};
    return _mm512_load_si512(table);
}

// Words of -255...255 as bf16: both halves of a dword through fp32, whose upper bits hold them.
CK_INLINE __m512i ck_affine_wide_avx512(__m512i words) {
    const __m512i even = _mm512_srai_epi32(_mm512_slli_epi32(words, 16), 16), odd = _mm512_srai_epi32(words, 16);
    const __m512i low = _mm512_castps_si512(_mm512_cvtepi32_ps(even)), high = _mm512_castps_si512(_mm512_cvtepi32_ps(odd));
    return _mm512_or_si512(_mm512_srli_epi32(low, 16), high);
}

// Line n of a block's codes less `zero`.
CK_INLINE __m512i ck_affine_line_avx512(const char *block, int bits, int n, __m512i zero, __m512i table) {
    const int wide = bits == 3 ? 2 : bits, lines = 16 / wide;
    const __m512i stored = _mm512_load_si512(block + n / lines * 64);
    __m512i codes = _mm512_and_si512(_mm512_srli_epi16(stored, (unsigned)(n % lines * wide)), _mm512_set1_epi16((1 << wide) - 1));
    if (bits == 3) {
        const __m512i third =
            _mm512_and_si512(_mm512_srli_epi16(_mm512_load_si512(block + 128), (unsigned)n), _mm512_set1_epi16(1));
        codes = _mm512_or_si512(codes, _mm512_slli_epi16(third, 2));
    }
    const __m512i difference = _mm512_sub_epi16(codes, zero);
    return bits == 8 ? ck_affine_wide_avx512(difference) : _mm512_permutexvar_epi16(difference, table);
}

// As ck_affine_expand; `next` is the part that follows, asked for meanwhile.
CK_INLINE void ck_affine_expand_avx512(const char *part, int bits, size_t dim, int tokens_in_lanes, char *expanded,
                                       const char *next) {
    const size_t steps = ck_affine_steps(dim);
    const uint8_t *zeros = ck_affine_zeros((size_t)bits, dim, part);
    const __m512i table = ck_affine_table_avx512();
    for (size_t i = 0; i < AFFINE_BLOCKS * steps; i++, part += bits * 64) {
        const uint8_t *zero = zeros + i / steps * AFFINE_TOKENS;
        for (int line = 0; line < bits; line++) _mm_prefetch(next + (i * (size_t)bits + (size_t)line) * 64, _MM_HINT_T0);
        if (tokens_in_lanes) {
            const __m512i own = _mm512_cvtepu8_epi32(_mm_loadu_si128((const __m128i *)(const void *)zero));
            const __m512i both = _mm512_or_si512(own, _mm512_slli_epi32(own, 16));
            char *target = expanded + i * AFFINE_LINES * 64;
            CK_UNROLL
            for (int n = 0; n < AFFINE_LINES; n++)
                _mm512_store_si512(target + n * 64, ck_affine_line_avx512(part, bits, n, both, table));
        } else {
            char *target = expanded + (i / steps * AFFINE_TOKENS * steps + i % steps) * 64;
            CK_UNROLL
            for (int n = 0; n < AFFINE_LINES; n++)
                _mm512_store_si512(target + (size_t)n * steps * 64,
                                   ck_affine_line_avx512(part, bits, n, _mm512_set1_epi16((int16_t)zero[n]), table));
        }
    }
}
