// The arithmetic that VDPBF16PS and TDPBF16PS share: a fused multiply-add of bf16 into fp32 with denormals flushed to zero on the
// way in and out, rounding to nearest even, MXCSR ignored. The payload and the sign of a NaN are not modelled. Source: Intel's
// instruction set reference.
#pragma once
#include <float.h>
#include <math.h>
#include "support/bf16.h"

static inline float ck_model_flush(float value) { return fabsf(value) < FLT_MIN ? copysignf(0.0f, value) : value; }

// Processors call a result tiny when it lies below 2^-126 after rounding to 24 bits as if the exponent had no limit: then it is
// flushed. A sum just below 2^-126 that fmaf rounds up to it, because denormals have fewer bits, is tiny. The limit is 2^-126 -
// 2^-151, a tie that goes to 2^-126. `product` is exact, and so are `sum` + `error` = product + addend.
static inline int ck_model_is_tiny(double product, double addend) {
    const double limit = 0x1.ffffffp-127;
    const double sum = product + addend, part = sum - product, rest = sum - part;
    const double error = (product - rest) + (addend - part);
    return fabs(sum) < limit || (fabs(sum) == limit && error * sum < 0);
}

static inline float ck_model_fma_bf16(float sum, uint16_t a, uint16_t b) {
    const float x = ck_model_flush(ck_bf16_to_f32(a)), y = ck_model_flush(ck_bf16_to_f32(b)), z = ck_model_flush(sum);
    const float result = fmaf(x, y, z);
    if (fabsf(result) == FLT_MIN && ck_model_is_tiny((double)x * (double)y, (double)z)) return copysignf(0.0f, result);
    return ck_model_flush(result);
}

// Both operands are results of such an instruction. A sum of fp32 below 2^-126 is exact, so flushing it is all.
static inline float ck_model_add(float a, float b) { return ck_model_flush(ck_model_flush(a) + ck_model_flush(b)); }
