// Weights of RaZeR values: p times what 1 is worth in the codes of a group of channels, as bf16. Include inside an ISA region,
// after razer_avx512.h.
#pragma once

// What 1 is worth for 32 tokens; 0 behind the last one, whatever its scale is.
typedef struct {
    __m512 low, high;
} ck_razer_units;

// Of tokens 32 `step` ... 32 `step` + 31 of a span in a group.
CK_INLINE ck_razer_units ck_razer_units_avx512(const ck_kv_span *values, size_t group, size_t step) {
    const void *part = values->parts[step / 2];
    const size_t slot = step % 2 * CK_RAZER_STEP, left = values->tokens - step * CK_RAZER_STEP;
    const uint8_t *scales = ck_razer_value_scales(part, group) + slot;
    const uint8_t *exponents = ck_razer_exponents(CK_KV_RAZER_VALUES, values->dim, part) + slot;
    const uint32_t mask = values->tokens <= step * CK_RAZER_STEP ? 0 : left < 32 ? (1u << left) - 1 : UINT32_MAX;
    const __m512 low = ck_razer_scales_avx512(scales, ck_razer_powers_avx512(exponents));
    const __m512 high = ck_razer_scales_avx512(scales + 16, ck_razer_powers_avx512(exponents + 16));
    return (ck_razer_units){_mm512_maskz_mov_ps((__mmask16)mask, low), _mm512_maskz_mov_ps((__mmask16)(mask >> 16), high)};
}

// 32 elements of p, weighted. That the conversion takes denormals for 0 changes nothing: so do the multiplications.
CK_INLINE __m512i ck_razer_weights_avx512(const ck_razer_units *units, const float *p) {
    const __m512 low = _mm512_mul_ps(_mm512_loadu_ps(p), units->low), high = _mm512_mul_ps(_mm512_loadu_ps(p + 16), units->high);
    return (__m512i)_mm512_cvtne2ps_pbh(high, low);
}
