// Steps of a transformer between its matrix multiplications, on rows of floats. None depends on other rows, and every element or
// row is the same sequence of operations wherever work is split.
#pragma once
#include "ck.h"

#pragma clang assume_nonnull begin

#ifdef __cplusplus
extern "C" {
#endif

// One instruction set's functions. They read and write n elements and nothing else, at any alignment; n may be 0.
typedef struct __attribute__((swift_attr("@Sendable"))) {
    ck_isa isa;

    // y[i] = weight[i] x[i] / sqrt(mean(x^2) + epsilon). y may be x, and overlaps nothing else. The sum of squares is taken in
    // float on vector instruction sets: elements from 2^60 on can overflow it, and the row becomes 0.
    void (*rms_norm)(size_t n, const float *x, const float *weight, float epsilon, float *y);

    // gate[i] = gate[i] / (1 + e^-gate[i]) * up[i]. Vector instruction sets give -0 where e^-gate[i] is beyond the largest float.
    void (*swiglu)(size_t n, float *gate, const float *up);

    // x[i] += delta[i]
    void (*add)(size_t n, float *x, const float *delta);
} ck_elementwise;

// Best first; the portable functions are last and need nothing.
const ck_elementwise *ck_elementwise_functions(size_t *count);

#ifdef __cplusplus
}
#endif

#pragma clang assume_nonnull end
