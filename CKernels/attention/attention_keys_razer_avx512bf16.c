// Scores of RaZeR keys, AVX-512 BF16. 32 channels at a time are looked up with their scales as bf16, exactly, and multiplied with
// queries that are rounded to bf16 once a call. 16 chains, tokens by queries: 4 x 4, 8 x 2 or 16 x 1; their 16 sums come out of
// one tree of additions as one vector, a query's tokens side by side, and are scaled by the tokens' powers of two.
#include "attention/razer_rows.h"
#include "support/isa.h"

#if CK_X86
#include "support/for_rows.h"

size_t ck_attention_keys_razer_avx512bf16_scratch(size_t rows, size_t dim) { return rows * ck_razer_blocks(dim) * 64; }

CK_ISA_BEGIN(avx512bf16)
#include "support/bf16_avx512.h"
#include "attention/kv_ahead.h"
#include "attention/lanes_avx512.h"
#include "attention/razer_avx512.h"

enum { CHAINS = 16, MOST_ROWS = 4 };

// Tokens that `rows` queries meet at once.
CK_INLINE int tokens_avx512(int rows) { return rows > 2 ? 4 : CHAINS / rows; }

typedef struct {
    const uint8_t *codes, *scales, *exponents;
} part_avx512;

// Tokens from `slot` on against `rows` queries, a constant.
CK_INLINE void scores_avx512(const part_avx512 *part, size_t slot, const char *q, size_t blocks, float *scores, size_t stride,
                             int rows) {
    const int tokens = tokens_avx512(rows);
    __m512 acc[CHAINS];
    CK_UNROLL
    for (int i = 0; i < CHAINS; i++) acc[i] = _mm512_setzero_ps();
    for (size_t block = 0; block < blocks; block++) {
        __m512bh query[MOST_ROWS];
        CK_UNROLL
        for (int m = 0; m < rows; m++) query[m] = (__m512bh)_mm512_load_si512(q + ((size_t)m * blocks + block) * 64);
        CK_UNROLL
        for (int t = 0; t < tokens; t++) {
            const size_t place = (slot + (size_t)t) * blocks + block;
            const __m512bh key = (__m512bh)ck_razer_key_block_avx512(part->codes, part->scales, place);
            CK_UNROLL
            for (int m = 0; m < rows; m++) acc[m * tokens + t] = _mm512_dpbf16_ps(acc[m * tokens + t], key, query[m]);
        }
    }
    // Lane m * tokens + t goes to token t of row m.
    const __m512 sums = ck_sums16_avx512(acc);
    const uint32_t lanes = (1u << tokens) - 1;
    CK_UNROLL
    for (int m = 0; m < rows; m++) {
        const __mmask16 mask = (__mmask16)(lanes << m * tokens);
        float power[CHAINS];
        for (int t = 0; t < tokens; t++) power[m * tokens + t] = ck_razer_power(part->exponents[slot + (size_t)t]);
        const __m512 scaled = _mm512_mul_ps(sums, _mm512_maskz_loadu_ps(mask, power));
        _mm512_mask_storeu_ps(scores + (size_t)m * stride - m * tokens, mask, scaled);
    }
}

void ck_attention_keys_razer_avx512bf16(const ck_kv_span *keys, const ck_attention_queries *queries, float *scores, size_t stride,
                                        void *scratch) {
    const size_t blocks = ck_razer_blocks(keys->dim), part_bytes = ck_razer_part_bytes(CK_KV_RAZER_KEYS, keys->dim);
    char *q = scratch;
    for (size_t m = 0; m < queries->rows; m++)
        for (size_t c = 0; c < blocks; c++)
            _mm512_store_si512(q + (m * blocks + c) * 64,
                               ck_round_line_avx512(queries->q + m * queries->stride + 32 * c, keys->dim - 32 * c));
    ck_kv_ahead ahead = ck_kv_ahead_begin(keys, part_bytes);
    for (size_t index = 0; index < ck_kv_parts(keys->tokens); index++) {
        const void *at = keys->parts[index];
        const size_t tokens = ck_kv_part_tokens(keys, index);
        const part_avx512 part = {at, ck_razer_key_scales(keys->dim, at), ck_razer_exponents(CK_KV_RAZER_KEYS, keys->dim, at)};
        for (size_t m = 0; m < queries->rows; m += MOST_ROWS) {
            const size_t left = queries->rows - m;
            float *target = scores + m * stride + index * CK_KV_TOKENS;
#define CALL(rows)                                                                                                               \
    for (size_t t = 0; t < tokens; t += (size_t)tokens_avx512(rows)) {                                                           \
        if (m == 0) ck_kv_ahead_lines(&ahead, (part_bytes / 64 * (size_t)tokens_avx512(rows) + 63) / CK_KV_TOKENS);              \
        scores_avx512(&part, t, q + m * blocks * 64, blocks, target + t, stride, rows);                                          \
    }
            CK_FOR_ROWS_4(left < MOST_ROWS ? left : MOST_ROWS, CALL)
#undef CALL
        }
    }
}

CK_ISA_END
#endif
