// Epilogue of the AVX-512 and AMX kernels: 16 finished outputs of one row of x. Include inside an ISA region.
#pragma once
#include "ck_gemm.h"
#include "support/bf16_avx512.h"

CK_INLINE __mmask16 ck_rows_mask(const ck_gemm_call *call, size_t panel) {
    const size_t left = call->n - panel * CK_PANEL_ROWS;
    return left >= CK_PANEL_ROWS ? (__mmask16)0xFFFF : (__mmask16)((1u << left) - 1);
}

CK_INLINE void ck_store16_avx512(const ck_gemm_call *call, size_t m, size_t panel, __m512 value) {
    const __mmask16 rows = ck_rows_mask(call, panel);
    const size_t at = m * call->y_stride + panel * CK_PANEL_ROWS;
    if (call->y_type == CK_F32) _mm512_mask_storeu_ps((float *)call->y + at, rows, value);
    else _mm256_mask_storeu_epi16((uint16_t *)call->y + at, rows, ck_round_bf16_avx512(value));
}

CK_INLINE __m512 ck_bias16_avx512(const ck_gemm_call *call, size_t panel) {
    if (!call->bias) return _mm512_setzero_ps();
    return _mm512_maskz_loadu_ps(ck_rows_mask(call, panel), call->bias + panel * CK_PANEL_ROWS);
}

CK_INLINE void ck_finish_bf16_avx512(const ck_gemm_call *call, size_t m, size_t panel, __m512 sum) {
    ck_store16_avx512(call, m, panel, _mm512_add_ps(sum, ck_bias16_avx512(call, panel)));
}

CK_INLINE void ck_finish_int8_avx512(const ck_gemm_call *call, const float *row_scale, size_t m, size_t panel, __m512i sum) {
    const __m512 rows = _mm512_maskz_loadu_ps(ck_rows_mask(call, panel), row_scale + panel * CK_PANEL_ROWS);
    const __m512 scale = _mm512_mul_ps(_mm512_set1_ps(call->x_scale[m]), rows);
    ck_store16_avx512(call, m, panel, _mm512_fmadd_ps(_mm512_cvtepi32_ps(sum), scale, ck_bias16_avx512(call, panel)));
}

// sum * unit is exact: a power of two that a format's scales are stored in.
CK_INLINE void ck_finish_scaled_avx512(const ck_gemm_call *call, size_t m, size_t panel, __m512 sum, float unit, float scale) {
    const __m512 whole = _mm512_mul_ps(sum, _mm512_set1_ps(unit));
    ck_store16_avx512(call, m, panel, _mm512_fmadd_ps(whole, _mm512_set1_ps(scale), ck_bias16_avx512(call, panel)));
}
