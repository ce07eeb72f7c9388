// Sparse rows as the AVX2 kernels for bf16 read them: a chunk is expanded into scratch, where the L2 cache keeps it. Include
// inside an ISA region.
#pragma once
#include "attention/sparse_rows.h"
#include "support/expand_avx2.h"
#include "support/expand_words_avx2.h"

enum { SPARSE_PARTS = CK_ATTENTION_CHUNK / CK_KV_TOKENS };

static size_t sparse_expanded_bytes(size_t dim) { return CK_ATTENTION_CHUNK * ck_kv_row_bytes(CK_KV_BF16, dim); }

CK_INLINE void sparse_expand_row(const uint16_t *value, const uint32_t *masks, size_t lines, char *row) {
    for (size_t line = 0; line < lines; line++, row += 64) {
        _mm256_store_si256((__m256i *)(void *)row, ck_expand16_avx2(masks[line] & 0xFFFF, &value));
        _mm256_store_si256((__m256i *)(void *)(row + 32), ck_expand16_avx2(masks[line] >> 16, &value));
    }
}

// The rows of a span's tokens; `parts` and `room` are to hold them.
CK_INLINE ck_kv_span sparse_expand(ck_kv_type type, const ck_kv_span *span, const void *parts[SPARSE_PARTS], char *room) {
    const size_t dim = span->dim, row_bytes = ck_kv_row_bytes(CK_KV_BF16, dim), lines = ck_sparse_lines(dim);
    const size_t part_bytes = ck_sparse_part_bytes(type, dim);
    for (size_t part = 0; part < ck_kv_parts(span->tokens); part++) {
        const char *next = part + 1 < ck_kv_parts(span->tokens) ? span->parts[part + 1] : span->next;
        for (size_t line = 0; next && line < part_bytes; line += 64) _mm_prefetch(next + line, _MM_HINT_T1);
        char *target = room + part * CK_KV_TOKENS * row_bytes;
        parts[part] = target;
        const uint16_t *values = ck_sparse_values(type, dim, span->parts[part], 0);
        const uint32_t *masks = ck_sparse_masks(type, dim, span->parts[part], 0);
        for (size_t t = 0; t < ck_kv_part_tokens(span, part); t++, target += row_bytes)
            sparse_expand_row(values + t * ck_sparse_kept(type, dim), masks + t * lines, lines, target);
    }
    return (ck_kv_span){parts, span->tokens, dim, NULL};
}
