// Bitmap expansion: the next popcount(mask) values land in the lanes whose bits are set, zeros elsewhere. Include inside an ISA
// region with VBMI2. Loads whole vectors: packed values end in 64 bytes of zeros, so the last load stays inside.
#pragma once

CK_INLINE __m512i ck_expand_bf16(uint32_t mask, const uint16_t **value) {
    const __m512i packed = _mm512_loadu_si512(*value);
    *value += __builtin_popcount(mask);
    return _mm512_maskz_expand_epi16(mask, packed);
}

CK_INLINE __m512i ck_expand_int8(uint64_t mask, const int8_t **value) {
    const __m512i packed = _mm512_loadu_si512(*value);
    *value += __builtin_popcountll(mask);
    return _mm512_maskz_expand_epi8(mask, packed);
}
