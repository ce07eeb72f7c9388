// Rows of p as tiles of A, for AMX BF16. Include inside an ISA region, after bf16_avx512.h.
#pragma once

// For each 16 rows of p CK_ATTENTION_CHUNK / 32 tiles of 1 KB, of 16 rows x 32 tokens, rounded to bf16. Writes the tiles of
// `tokens` tokens, a multiple of 32; rows beyond the last one become 0.
CK_INLINE void ck_round_weights_amx(const float *p, size_t p_stride, size_t rows, size_t tokens, char *target) {
    for (size_t m = 0; m < (rows + 15) / 16 * 16; m++) {
        char *row = target + m / 16 * (CK_ATTENTION_CHUNK / 32 * 1024) + m % 16 * 64;
        for (size_t t = 0; t < tokens; t += 32)
            _mm512_store_si512(row + t / 32 * 1024,
                               m < rows ? ck_round_line_avx512(p + m * p_stride + t, 32) : _mm512_setzero_si512());
    }
}
