// The second half of the AVX-512 and AMX kernels: 16 tokens in a vector, so that a score is a lane and nothing is summed across.
// Include inside an ISA region, after latent_keys.h.
#pragma once
#include "support/for_rows.h"

CK_INLINE void latent_dot_rows(const latent_dots *dots, size_t row, size_t pair, int rows) {
    enum { GROUPS = 2 };
    const float *q = dots->q + row * 2 * LATENT_PAIRS + pair;
    const float *rebuilt = dots->rebuilt + pair * CK_LATENT_TOKENS, *angles = dots->angles + pair * 2 * CK_LATENT_TOKENS;
    float *sums = dots->sums + row * 2 * CK_LATENT_TOKENS;
    const int fresh = dots->first && pair == 0;
    __m512 low[LATENT_PIECE_ROWS][GROUPS], high[LATENT_PIECE_ROWS][GROUPS];
    CK_UNROLL
    for (int m = 0; m < rows; m++) CK_UNROLL
    for (int g = 0; g < GROUPS; g++) {
        const float *at = sums + m * 2 * (int)CK_LATENT_TOKENS + g * LATENT_LANES;
        low[m][g] = fresh ? _mm512_setzero_ps() : _mm512_load_ps(at);
        high[m][g] = fresh ? _mm512_setzero_ps() : _mm512_load_ps(at + CK_LATENT_TOKENS);
    }
    CK_UNROLL
    for (int j = 0; j < LATENT_PIECE_PAIRS; j++) {
        __m512 lower[GROUPS], upper[GROUPS];
        CK_UNROLL
        for (int g = 0; g < GROUPS; g++) {
            const float *at = rebuilt + j * (int)CK_LATENT_TOKENS + g * LATENT_LANES;
            const float *turn = angles + j * 2 * (int)CK_LATENT_TOKENS + g * LATENT_LANES;
            const __m512 u = _mm512_load_ps(at), v = _mm512_load_ps(at + LATENT_PAIRS * CK_LATENT_TOKENS);
            const __m512 cosine = _mm512_load_ps(turn), sine = _mm512_load_ps(turn + CK_LATENT_TOKENS);
            lower[g] = _mm512_fmsub_ps(u, cosine, _mm512_mul_ps(v, sine));
            upper[g] = _mm512_fmadd_ps(v, cosine, _mm512_mul_ps(u, sine));
        }
        CK_UNROLL
        for (int m = 0; m < rows; m++) {
            const __m512 a = _mm512_set1_ps(q[m * 2 * LATENT_PAIRS + j]), b = _mm512_set1_ps(q[(m * 2 + 1) * LATENT_PAIRS + j]);
            CK_UNROLL
            for (int g = 0; g < GROUPS; g++) {
                low[m][g] = _mm512_fmadd_ps(lower[g], a, low[m][g]);
                high[m][g] = _mm512_fmadd_ps(upper[g], b, high[m][g]);
            }
        }
    }
    CK_UNROLL
    for (int m = 0; m < rows; m++) CK_UNROLL
    for (int g = 0; g < GROUPS; g++) {
        float *at = sums + m * 2 * (int)CK_LATENT_TOKENS + g * LATENT_LANES;
        _mm512_store_ps(at, low[m][g]);
        _mm512_store_ps(at + CK_LATENT_TOKENS, high[m][g]);
    }
}

static void latent_dot_piece(const latent_dots *dots, size_t row, size_t rows, size_t pair) {
#define CALL(count) latent_dot_rows(dots, row, pair, count)
    CK_FOR_ROWS_4(rows, CALL)
#undef CALL
}
