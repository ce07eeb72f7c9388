// Where the rows of a part lie.
#pragma once
#include "ck_attention.h"

static inline size_t ck_kv_row_bytes(ck_kv_type type, size_t dim) {
    const size_t bytes = type == CK_KV_INT8 ? dim : 2 * dim;
    return (bytes + 63) / 64 * 64;
}

static inline const void *ck_kv_row(ck_kv_type type, size_t dim, const void *part, size_t slot) {
    return (const char *)part + slot * ck_kv_row_bytes(type, dim);
}

// CK_KV_INT8: the scales behind the rows.
static inline const float *ck_kv_scales(size_t dim, const void *part) {
    return (const float *)ck_kv_row(CK_KV_INT8, dim, part, CK_KV_TOKENS);
}

static inline size_t ck_kv_parts(size_t tokens) { return (tokens + CK_KV_TOKENS - 1) / CK_KV_TOKENS; }

// Tokens of part `index` of a span.
static inline size_t ck_kv_part_tokens(const ck_kv_span *span, size_t index) {
    const size_t left = span->tokens - index * CK_KV_TOKENS;
    return left < CK_KV_TOKENS ? left : CK_KV_TOKENS;
}
