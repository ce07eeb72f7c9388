// The bf16 inner loop of AVX2: a shift and a mask make two floats of a pair. Include inside an ISA region.
//
//   weights  two ymm = 16 rows x 2 k, dword lane = row
//   acc[m]   two ymm: rows 0...7 and 8...15 of the panel, one chain over k each, even before odd
//
// 4 rows of x use 8 of the 16 registers for accumulators: 16 multiply-adds a step in 8 chains, which hides their latency of 4
// cycles.
#pragma once
#include "support/bf16_avx2.h"

enum { CK_DOT_ROWS = 4 };

typedef struct {
    __m256 low, high;
} ck_chains;

// Adds one k pair: weights low = rows 0...7, high = rows 8...15.
CK_INLINE void ck_dot_bf16_step(ck_chains *acc, __m256i low, __m256i high, const char *x, size_t x_stride, size_t pair,
                                int rows) {
    const __m256 low_even = ck_even_avx2(low), high_even = ck_even_avx2(high);
    const __m256 low_odd = ck_odd_avx2(low), high_odd = ck_odd_avx2(high);
    CK_UNROLL
    for (int m = 0; m < rows; m++) {
        int32_t word;
        memcpy(&word, x + (size_t)m * x_stride + 4 * pair, sizeof word);
        const __m256i both = _mm256_set1_epi32(word);
        acc[m].low = _mm256_fmadd_ps(low_even, ck_even_avx2(both), acc[m].low);
        acc[m].high = _mm256_fmadd_ps(high_even, ck_even_avx2(both), acc[m].high);
        acc[m].low = _mm256_fmadd_ps(low_odd, ck_odd_avx2(both), acc[m].low);
        acc[m].high = _mm256_fmadd_ps(high_odd, ck_odd_avx2(both), acc[m].high);
    }
}

CK_INLINE void ck_dot_bf16_clear(ck_chains *acc, int rows) {
    CK_UNROLL
    for (int m = 0; m < rows; m++) acc[m].low = acc[m].high = _mm256_setzero_ps();
}

CK_INLINE void ck_dot_bf16_finish(const ck_gemm_call *call, const ck_chains *acc, size_t m0, size_t panel, int rows) {
    CK_UNROLL
    for (int m = 0; m < rows; m++) {
        const __m256 low = _mm256_add_ps(acc[m].low, ck_load8_avx2(call, call->bias, panel, 0));
        const __m256 high = _mm256_add_ps(acc[m].high, ck_load8_avx2(call, call->bias, panel, 1));
        ck_store8_avx2(call, m0 + (size_t)m, panel, 0, low);
        ck_store8_avx2(call, m0 + (size_t)m, panel, 1, high);
    }
}

// One dense panel, `rows` rows of x from m0 on.
CK_INLINE void ck_dot_bf16_panel(const ck_gemm_call *call, const uint16_t *w, size_t m0, size_t panel, int rows) {
    const size_t pairs = ck_k_padded(call->k, CK_BF16) / 2;
    const char *x = (const char *)call->x + m0 * call->x_stride;
    ck_chains acc[CK_DOT_ROWS];
    ck_dot_bf16_clear(acc, rows);
    for (size_t pair = 0; pair < pairs; pair++) {
        const __m256i *at = (const __m256i *)(w + pair * 2 * CK_PANEL_ROWS);
        _mm_prefetch((const char *)at + CK_PREFETCH_BYTES, _MM_HINT_T0);
        ck_dot_bf16_step(acc, _mm256_loadu_si256(at), _mm256_loadu_si256(at + 1), x, call->x_stride, pair, rows);
    }
    ck_dot_bf16_finish(call, acc, m0, panel, rows);
}
