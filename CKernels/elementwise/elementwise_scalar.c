// The portable functions: one element after the other, in double.
#include <math.h>
#include "elementwise/elementwise.h"

void ck_rms_norm_scalar(size_t n, const float *x, const float *weight, float epsilon, float *y) {
    double squares = 0;
    for (size_t i = 0; i < n; i++) squares += (double)x[i] * x[i];
    const double factor = 1 / sqrt(squares / (double)n + epsilon);
    for (size_t i = 0; i < n; i++) y[i] = (float)(x[i] * factor * weight[i]);
}

void ck_swiglu_scalar(size_t n, float *gate, const float *up) {
    for (size_t i = 0; i < n; i++) gate[i] = (float)(gate[i] / (1 + exp(-(double)gate[i])) * up[i]);
}

void ck_add_scalar(size_t n, float *x, const float *delta) {
    for (size_t i = 0; i < n; i++) x[i] += delta[i];
}
