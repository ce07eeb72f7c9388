// IEEE half precision bit patterns in portable C.
#pragma once
#include <stdint.h>
#include <string.h>

// Exact. A half is 2^112 times the single with its bits moved to the single's place: the product also puts subnormals right;
// infinity and NaN keep an exponent of all ones.
static inline float ck_f16_to_f32(uint16_t bits) {
    const uint32_t magnitude = (uint32_t)(bits & 0x7FFFu) << 13;
    float value;
    memcpy(&value, &magnitude, sizeof value);
    value *= 0x1p112f;
    uint32_t wide;
    memcpy(&wide, &value, sizeof wide);
    wide |= (uint32_t)(bits & 0x8000u) << 16 | ((bits & 0x7C00u) == 0x7C00u ? 0x7F800000u : 0);
    memcpy(&value, &wide, sizeof value);
    return value;
}
