// bfloat16 bit patterns in portable C.
#pragma once
#include <stdint.h>
#include <string.h>

static inline float ck_bf16_to_f32(uint16_t bits) {
    const uint32_t wide = (uint32_t)bits << 16;
    float value;
    memcpy(&value, &wide, sizeof value);
    return value;
}

// Rounds to nearest, ties to even; NaN stays NaN, made quiet. Without branches, so that loops of it become vector code.
static inline uint16_t ck_bf16_from_f32(float value) {
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    const int nan = (int32_t)(bits & 0x7FFFFFFFu) > 0x7F800000;
    const uint32_t quiet = bits >> 16 | 0x40u, rounded = (bits + 0x7FFFu + (bits >> 16 & 1u)) >> 16;
    return (uint16_t)(nan ? quiet : rounded);
}
