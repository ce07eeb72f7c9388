// Scales as they are stored.
#pragma once
#include <math.h>
#include "cc_quantize.h"

// A small float without a sign: the value of bits is n * 2^(least - mantissa) below 2^mantissa, and from there on
// (1 + fraction) * 2^(exponent). With e the exponent of a number, but at least `least`, and n its multiple of 2^(e - mantissa),
// the bits are (e - least) * 2^mantissa + n, also where rounding carries into the exponent.
typedef struct {
    int mantissa, least;
    uint32_t largest;  // bits
    uint32_t shift;    // where they lie in the stored number
} cc_small_float;

static inline cc_small_float cc_small_float_of(cc_scale_type type) {
    switch (type) {
    case CC_SCALE_F16: return (cc_small_float){10, -14, 0x7BFF, 0};
    case CC_SCALE_F16_SELECTOR: return (cc_small_float){8, -14, 0x1EFF, 2};
    case CC_SCALE_E3M3: return (cc_small_float){3, -2, 0x3F, 0};
    default: return (cc_small_float){3, -6, 0x7E, 0};
    }
}

// The exponent of a positive normal number; -127 of a smaller one.
static inline int cc_exponent(float value) {
    uint32_t bits;
    __builtin_memcpy(&bits, &value, sizeof bits);
    return (int)(bits >> 23 & 255) - 127;
}

static inline float cc_power(int exponent) {
    const uint32_t bits = (uint32_t)(exponent + 127) << 23;
    float value;
    __builtin_memcpy(&value, &bits, sizeof value);
    return value;
}

// Rounds a positive scale to the nearest stored one that is not 0, ties up; `down` to the next power of two below. Returns the
// bits without selector, or UINT32_MAX beyond the largest.
static inline uint32_t cc_scale_round(float scale, cc_scale_type type, int down) {
    const int exponent = cc_exponent(scale);
    if (type == CC_SCALE_POWER) {
        const int bits = exponent + 32 + (!down && scale >= 1.5f * cc_power(exponent < -126 ? -126 : exponent));
        return bits < 0 ? 0 : bits > 63 ? UINT32_MAX : (uint32_t)bits;
    }
    const cc_small_float f = cc_small_float_of(type);
    const int e = exponent < f.least ? f.least : exponent;
    if (e > 30) return UINT32_MAX;
    const uint32_t n = (uint32_t)(scale * cc_power(f.mantissa - e) + 0.5f);
    const uint32_t bits = ((uint32_t)(e - f.least) << f.mantissa) + n;
    if (bits > f.largest) return UINT32_MAX;
    return (bits == 0 ? 1 : bits) << f.shift;
}

static inline uint32_t cc_with_selector(uint32_t bits, uint32_t selector, int negative, cc_scale_type type) {
    switch (type) {
    case CC_SCALE_F16: return bits | (negative ? 0x8000u : 0);
    case CC_SCALE_F16_SELECTOR: return bits | selector;
    case CC_SCALE_E4M3: return bits | selector << 7;
    default: return bits | selector << 6;
    }
}
