// Epilogue of the AVX2 kernels: 8 finished outputs of one row of x, half 0 or 1 of a panel. Include inside an ISA region.
#pragma once
#include "ck_gemm.h"
#include "support/bf16.h"

// How many of the 8 outputs exist: n may end inside the panel.
CK_INLINE size_t ck_outputs8(const ck_gemm_call *call, size_t panel, size_t half) {
    const size_t first = panel * CK_PANEL_ROWS + half * 8;
    if (first >= call->n) return 0;
    return call->n - first < 8 ? call->n - first : 8;
}

CK_INLINE __m256i ck_mask8(size_t count) {
    return _mm256_cmpgt_epi32(_mm256_set1_epi32((int)count), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}

CK_INLINE void ck_store8_avx2(const ck_gemm_call *call, size_t m, size_t panel, size_t half, __m256 value) {
    const size_t count = ck_outputs8(call, panel, half);
    const size_t at = m * call->y_stride + panel * CK_PANEL_ROWS + half * 8;
    if (call->y_type == CK_F32) {
        _mm256_maskstore_ps((float *)call->y + at, ck_mask8(count), value);
        return;
    }
    float wide[8];
    _mm256_storeu_ps(wide, value);
    for (size_t i = 0; i < count; i++) ((uint16_t *)call->y)[at + i] = ck_bf16_from_f32(wide[i]);
}

CK_INLINE __m256 ck_load8_avx2(const ck_gemm_call *call, const float *rows, size_t panel, size_t half) {
    if (!rows) return _mm256_setzero_ps();
    return _mm256_maskload_ps(rows + panel * CK_PANEL_ROWS + half * 8, ck_mask8(ck_outputs8(call, panel, half)));
}

// sum * unit is exact: a power of two that a format's scales are stored in.
CK_INLINE void ck_finish_scaled_avx2(const ck_gemm_call *call, size_t m, size_t panel, size_t half, __m256 sum, float unit,
                                     float scale) {
    const __m256 whole = _mm256_mul_ps(sum, _mm256_set1_ps(unit));
    const __m256 bias = ck_load8_avx2(call, call->bias, panel, half);
    ck_store8_avx2(call, m, panel, half, _mm256_fmadd_ps(whole, _mm256_set1_ps(scale), bias));
}
