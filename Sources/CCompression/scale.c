#include "scale.h"

float cc_scale_value(uint32_t bits, cc_scale_type type) {
    switch (type) {
    case CC_SCALE_POWER: return cc_power((int)(bits & 63) - 32);
    case CC_SCALE_E3M3: bits &= 63; break;
    case CC_SCALE_E4M3: bits &= 127; break;
    default: break;
    }
    const float sign = type == CC_SCALE_F16 || type == CC_SCALE_F16_SELECTOR ? (bits & 0x8000u ? -1.0f : 1.0f) : 1.0f;
    const cc_small_float f = cc_small_float_of(type);
    const uint32_t magnitude = (bits & 0x7FFFu) >> f.shift;
    if (magnitude > f.largest) return NAN;
    const uint32_t one = 1u << f.mantissa, exponent = magnitude >> f.mantissa;
    const uint32_t fraction = magnitude & (one - 1);
    if (exponent == 0) return sign * (float)fraction * cc_power(f.least - f.mantissa);
    return sign * (float)(one + fraction) * cc_power((int)exponent - 1 + f.least - f.mantissa);
}
