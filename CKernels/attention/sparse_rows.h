// Rows of a cache without their smallest elements (CK_KV_SPARSE50, CK_KV_SPARSE70). Of `dim` elements every row keeps the same
// number, whatever they are, so each has its place and a part has a size:
//
//     values   64 rows of `kept` bf16, in order of channels, without gaps between rows
//     masks    64 rows of a 32-bit mask for each 32 channels: bit c % 32 of mask c / 32 says that channel c is kept
//
//     kept = dim / 2, or 3 dim / 10, rounded up
//
// That the masks follow the values is what makes any mask safe. Expanding a row takes a load of at most 64 bytes for each mask,
// and no mask moves on by more than 32 values; so it reads no more than 64 bytes for each mask from the row's first value on.
// Behind the last row's first value the masks alone are 256 bytes for each: no bits that a file holds lead a kernel out of the
// part.
#pragma once
#include "attention/kv_rows.h"

static inline int ck_kv_is_sparse(ck_kv_type type) { return type == CK_KV_SPARSE50 || type == CK_KV_SPARSE70; }

static inline size_t ck_sparse_kept(ck_kv_type type, size_t dim) {
    return type == CK_KV_SPARSE50 ? (dim + 1) / 2 : (3 * dim + 9) / 10;
}

// Masks of a row, and lines of 32 bf16 that it expands to.
static inline size_t ck_sparse_lines(size_t dim) { return (dim + 31) / 32; }

static inline size_t ck_sparse_part_bytes(ck_kv_type type, size_t dim) {
    return CK_KV_TOKENS * (ck_sparse_kept(type, dim) * sizeof(uint16_t) + ck_sparse_lines(dim) * sizeof(uint32_t));
}

static inline const uint16_t *ck_sparse_values(ck_kv_type type, size_t dim, const void *part, size_t slot) {
    return (const uint16_t *)part + slot * ck_sparse_kept(type, dim);
}

static inline const uint32_t *ck_sparse_masks(ck_kv_type type, size_t dim, const void *part, size_t slot) {
    const void *masks = ck_sparse_values(type, dim, part, CK_KV_TOKENS);
    return (const uint32_t *)masks + slot * ck_sparse_lines(dim);
}

void ck_sparse_write(ck_kv_type type, size_t dim, void *part, size_t slot, const float *row);
void ck_sparse_read(ck_kv_type type, size_t dim, const void *part, size_t slot, float *row);
void ck_sparse_copy(ck_kv_type type, size_t dim, const void *from, size_t from_slot, void *to, size_t to_slot);
