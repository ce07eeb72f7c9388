// Scores of sparse keys, AVX-512 BF16. An expand puts 32 channels of a key where the queries, rounded to bf16 once a call, have
// them; it meets up to four queries in registers and is never written. 16 chains at a time, tokens by queries: 4 x 4, 8 x 2 or
// 16 x 1; their 16 sums come out of one tree of additions as one vector, a query's tokens side by side.
#include "attention/sparse_rows.h"
#include "support/isa.h"

#if CK_X86
#include "support/for_rows.h"

size_t ck_attention_keys_sparse_avx512bf16_scratch(size_t rows, size_t dim) { return rows * ck_kv_row_bytes(CK_KV_BF16, dim); }

CK_ISA_BEGIN(avx512bf16)
#include "support/bf16_avx512.h"
#include "support/expand_avx512.h"
#include "attention/kv_ahead.h"
#include "attention/lanes_avx512.h"

enum { CHAINS = 16, MOST_ROWS = 4 };

// Tokens that `rows` queries meet at once.
CK_INLINE int tokens_avx512(int rows) { return rows > 2 ? 4 : CHAINS / rows; }

typedef struct {
    const uint16_t *values;
    const uint32_t *masks;
    size_t kept, lines;
} sparse_rows;

// Tokens from `slot` on against `rows` queries, a constant.
CK_INLINE void scores_avx512(const sparse_rows *keys, size_t slot, const char *q, float *scores, size_t stride, int rows) {
    const int tokens = tokens_avx512(rows);
    const size_t row_bytes = keys->lines * 64;
    __m512 acc[CHAINS];
    CK_UNROLL
    for (int i = 0; i < CHAINS; i++) acc[i] = _mm512_setzero_ps();
    CK_UNROLL
    for (int t = 0; t < tokens; t++) {
        const uint16_t *value = keys->values + (slot + (size_t)t) * keys->kept;
        const uint32_t *masks = keys->masks + (slot + (size_t)t) * keys->lines;
        for (size_t line = 0; line < keys->lines; line++) {
            const __m512bh key = (__m512bh)ck_expand_bf16(masks[line], &value);
            CK_UNROLL
            for (int m = 0; m < rows; m++) {
                const __m512bh query = (__m512bh)_mm512_load_si512(q + (size_t)m * row_bytes + line * 64);
                acc[m * tokens + t] = _mm512_dpbf16_ps(acc[m * tokens + t], key, query);
            }
        }
    }
    // Lane m * tokens + t goes to token t of row m.
    const __m512 sums = ck_sums16_avx512(acc);
    const uint32_t lanes = (1u << tokens) - 1;
    CK_UNROLL
    for (int m = 0; m < rows; m++)
        _mm512_mask_storeu_ps(scores + (size_t)m * (stride - (size_t)tokens), (__mmask16)(lanes << m * tokens), sums);
}

// All tokens of a part; the last few at once may be more than it has.
CK_INLINE void part_avx512(const sparse_rows *keys, size_t tokens, size_t part_bytes, const char *q, float *scores, size_t stride,
                           ck_kv_ahead *ahead, int rows) {
    const size_t step = (size_t)tokens_avx512(rows), steps = CK_KV_TOKENS / step;
    for (size_t t = 0; t < tokens; t += step) {
        if (ahead) ck_kv_ahead_lines(ahead, (part_bytes / 64 + steps - 1) / steps);
        scores_avx512(keys, t, q, scores + t, stride, rows);
    }
}

CK_INLINE void run(ck_kv_type type, const ck_kv_span *keys, const ck_attention_queries *queries, float *scores, size_t stride,
                   char *q) {
    const size_t row_bytes = ck_kv_row_bytes(CK_KV_BF16, keys->dim), part_bytes = ck_sparse_part_bytes(type, keys->dim);
    for (size_t m = 0; m < queries->rows; m++)
        for (size_t c = 0; c * 2 < row_bytes; c += 32)
            _mm512_store_si512(q + m * row_bytes + 2 * c,
                               ck_round_line_avx512(queries->q + m * queries->stride + c, keys->dim - c));
    ck_kv_ahead ahead = ck_kv_ahead_begin(keys, part_bytes);
    for (size_t part = 0; part < ck_kv_parts(keys->tokens); part++) {
        const sparse_rows rows_of_part = {ck_sparse_values(type, keys->dim, keys->parts[part], 0),
                                          ck_sparse_masks(type, keys->dim, keys->parts[part], 0), ck_sparse_kept(type, keys->dim),
                                          ck_sparse_lines(keys->dim)};
        const size_t tokens = ck_kv_part_tokens(keys, part);
        for (size_t m = 0; m < queries->rows; m += MOST_ROWS) {
            const size_t left = queries->rows - m;
            float *target = scores + m * stride + part * CK_KV_TOKENS;
#define CALL(rows) part_avx512(&rows_of_part, tokens, part_bytes, q + m * row_bytes, target, stride, m == 0 ? &ahead : NULL, rows)
            CK_FOR_ROWS_4(left < MOST_ROWS ? left : MOST_ROWS, CALL)
#undef CALL
        }
    }
}

void ck_attention_keys_sparse50_avx512bf16(const ck_kv_span *keys, const ck_attention_queries *queries, float *scores,
                                           size_t stride, void *scratch) {
    run(CK_KV_SPARSE50, keys, queries, scores, stride, scratch);
}

void ck_attention_keys_sparse70_avx512bf16(const ck_kv_span *keys, const ck_attention_queries *queries, float *scores,
                                           size_t stride, void *scratch) {
    run(CK_KV_SPARSE70, keys, queries, scores, stride, scratch);
}

CK_ISA_END
#endif
