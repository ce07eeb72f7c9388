// Portable epilogue: one finished value to the output, with the bias and the rounding that every variant shares.
#pragma once
#include <math.h>
#include "ck_gemm.h"
#include "support/bf16.h"

static inline void ck_store(const ck_gemm_call *call, size_t m, size_t n, float value) {
    const size_t at = m * call->y_stride + n;
    if (call->y_type == CK_F32) ((float *)call->y)[at] = value;
    else ((uint16_t *)call->y)[at] = ck_bf16_from_f32(value);
}

// int8: acc counts steps of x_scale * row_scale. One fused multiply-add, so every variant gives the same bits.
static inline float ck_scaled(const ck_gemm_call *call, const float *row_scale, size_t m, size_t n, int32_t acc) {
    return fmaf((float)acc, call->x_scale[m] * row_scale[n], call->bias ? call->bias[n] : 0.0f);
}
