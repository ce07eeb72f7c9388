// The bf16 inner loop of AVX-512: a panel against up to 12 rows of x. Include inside an ISA region.
//
//   weights  zmm   = 16 rows x 2 k, dword lane = row
//   x        dword = the same 2 k of one row of x, broadcast from memory into the instruction
//   acc[m]   zmm x 2: even and odd k pairs, two chains per output whatever m is, so a row's bits do not depend on its company
//
// 12 rows of x use 24 accumulators and leave 8 registers for weights and masks. VDPBF16PS takes 6 cycles on Zen 4 and Golden
// Cove: one row of x runs at 3 cycles per 64 bytes of weights, 70 GB/s and core, which no memory delivers.
#pragma once

enum { CK_DOT_ROWS = 12 };

typedef struct {
    __m512 even, odd;
} ck_chains;

CK_INLINE __m512i ck_broadcast_k_avx512(const char *x, size_t step) {
    int32_t word;
    memcpy(&word, x + 4 * step, sizeof word);
    return _mm512_set1_epi32(word);
}

// Adds weights (even pair, odd pair) times two consecutive pairs of `rows` rows of x.
CK_INLINE void ck_dot_bf16_step(ck_chains *acc, __m512i even, __m512i odd, const char *x, size_t x_stride, size_t pair,
                                int rows) {
    CK_UNROLL
    for (int m = 0; m < rows; m++) {
        const char *row = x + (size_t)m * x_stride;
        acc[m].even = _mm512_dpbf16_ps(acc[m].even, (__m512bh)even, (__m512bh)ck_broadcast_k_avx512(row, pair));
        acc[m].odd = _mm512_dpbf16_ps(acc[m].odd, (__m512bh)odd, (__m512bh)ck_broadcast_k_avx512(row, pair + 1));
    }
}

CK_INLINE void ck_dot_bf16_clear(ck_chains *acc, int rows) {
    CK_UNROLL
    for (int m = 0; m < rows; m++) acc[m].even = acc[m].odd = _mm512_setzero_ps();
}

CK_INLINE void ck_dot_bf16_finish(const ck_gemm_call *call, const ck_chains *acc, size_t m0, size_t panel, int rows) {
    CK_UNROLL
    for (int m = 0; m < rows; m++) ck_finish_bf16_avx512(call, m0 + (size_t)m, panel, _mm512_add_ps(acc[m].even, acc[m].odd));
}

// One dense panel, `rows` rows of x from m0 on.
CK_INLINE void ck_dot_bf16_panel(const ck_gemm_call *call, const uint16_t *w, size_t m0, size_t panel, int rows) {
    const size_t pairs = ck_k_padded(call->k, CK_BF16) / 2;
    const char *x = (const char *)call->x + m0 * call->x_stride;
    ck_chains acc[CK_DOT_ROWS];
    ck_dot_bf16_clear(acc, rows);
    for (size_t pair = 0; pair < pairs; pair += 2) {
        const uint16_t *at = w + pair * 2 * CK_PANEL_ROWS;
        _mm_prefetch((const char *)at + CK_PREFETCH_BYTES, _MM_HINT_T0);
        _mm_prefetch((const char *)at + CK_PREFETCH_BYTES + 64, _MM_HINT_T0);
        ck_dot_bf16_step(acc, _mm512_loadu_si512(at), _mm512_loadu_si512(at + 2 * CK_PANEL_ROWS), x, call->x_stride, pair, rows);
    }
    ck_dot_bf16_finish(call, acc, m0, panel, rows);
}
