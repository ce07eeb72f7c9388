// Queries as tiles of B, and scores out of tiles of C, for AMX BF16. Include inside an ISA region, after bf16_avx512.h.
#pragma once
#include "attention/transpose_avx512.h"

// For each 16 queries a tile of 1 KB for each of `lines` lines of 32 channels: row r has channels 2 r and 2 r + 1 of each query.
CK_INLINE void ck_pack_queries_amx(const ck_attention_queries *queries, size_t dim, size_t lines, char *target) {
    for (size_t first = 0; first < queries->rows; first += 16)
        for (size_t c = 0; c < 32 * lines; c += 32) {
            __m512 line[16];
            for (size_t m = 0; m < 16; m++) {
                const float *q = queries->q + (first + m) * queries->stride + c;
                const int exists = first + m < queries->rows && c < dim;
                line[m] = exists ? _mm512_castsi512_ps(ck_round_line_avx512(q, dim - c)) : _mm512_setzero_ps();
            }
            ck_transpose16_avx512(line);
            for (size_t pair = 0; pair < 16; pair++, target += 64) _mm512_store_ps(target, line[pair]);
        }
}

// The scores of 16 tokens with each of 16 queries, from C: tokens by queries.
CK_INLINE void ck_scores_amx(const char *c, __m512 scores[16]) {
    for (int t = 0; t < 16; t++) scores[t] = _mm512_load_ps(c + 64 * t);
    ck_transpose16_avx512(scores);
}

// Of 4 queries, from C with 16 bytes to the token.
CK_INLINE void ck_few_scores_amx(const char *c, __m512 scores[4]) {
    __m512i tokens[4];
    CK_UNROLL
    for (int i = 0; i < 4; i++) tokens[i] = _mm512_load_si512(c + 64 * i);
    ck_turn_few_avx512(tokens, scores);
}
