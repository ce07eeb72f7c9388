// Rows in codes of 8, 4, 3 or 2 bits. An element is scale (code - zero), scale and zero being its token's.
//
// A block of 16 tokens x 32 elements is 16 lines of 32 codes, a code in the low bits of a word of 16 bits, and stored as `bits`
// lines of 64 bytes in which several lines share the words. Line n of the 16:
//
//     8 bits   line n / 2, from bit 8 (n % 2) of each word on
//     4 bits   line n / 4, from bit 4 (n % 4) on
//     3 bits   the low two as with 2 bits; the third is bit n of line 2
//     2 bits   line n / 8, from bit 2 (n % 8) on
//
// so that a shift and a mask give a line. Its words are
//
//     values         32 elements of token n
//     latent keys    elements 2 n and 2 n + 1 of token 0, of token 1, ... 15
//
// A part is [4 blocks of tokens][steps of 32 elements][bits lines], then 64 floats, the scales, and 64 bytes, the zeros.
#pragma once
#include "attention/kv_rows.h"
#include "support/bf16.h"

enum { AFFINE_TOKENS = 16, AFFINE_ELEMENTS = 32, AFFINE_LINES = 16, AFFINE_BLOCKS = CK_KV_TOKENS / AFFINE_TOKENS };

static inline int ck_kv_is_affine(ck_kv_type type) {
    return (type >= CK_KV_AFFINE8 && type <= CK_KV_AFFINE2) || (type >= CK_KV_LATENT_AFFINE8 && type <= CK_KV_LATENT_AFFINE2);
}

static inline int ck_affine_has_tokens_in_lanes(ck_kv_type type) { return type >= CK_KV_LATENT_AFFINE8; }

static inline size_t ck_affine_bits(ck_kv_type type) {
    static const uint8_t bits[4] = {8, 4, 3, 2};
    return bits[(type - CK_KV_AFFINE8) & 3];
}

static inline size_t ck_affine_steps(size_t dim) { return (dim + AFFINE_ELEMENTS - 1) / AFFINE_ELEMENTS; }
static inline size_t ck_affine_code_bytes(size_t bits, size_t dim) { return AFFINE_BLOCKS * ck_affine_steps(dim) * bits * 64; }
static inline size_t ck_affine_part_bytes(size_t bits, size_t dim) {
    return ck_affine_code_bytes(bits, dim) + CK_KV_TOKENS * (sizeof(float) + 1);
}

static inline const float *ck_affine_scales(size_t bits, size_t dim, const void *part) {
    return (const float *)(const void *)((const char *)part + ck_affine_code_bytes(bits, dim));
}
static inline const uint8_t *ck_affine_zeros(size_t bits, size_t dim, const void *part) {
    return (const uint8_t *)(ck_affine_scales(bits, dim, part) + CK_KV_TOKENS);
}

// As ck_kv_write, ck_kv_read and ck_kv_copy.
void ck_affine_write(ck_kv_type type, size_t dim, void *part, size_t slot, const float *row);
void ck_affine_read(ck_kv_type type, size_t dim, const void *part, size_t slot, float *row);
void ck_affine_copy(ck_kv_type type, size_t dim, const void *from, size_t from_slot, void *to, size_t to_slot);

// A part's codes less their zeros, which bf16 holds exactly, as CK_KV_BF16 or CK_KV_LATENT_BF16 store rows: each block of 16
// tokens in `steps` steps of 16 lines, one line after the other for latent keys, `steps` lines apart for values.
static inline size_t ck_affine_expanded_bytes(size_t dim) { return CK_KV_TOKENS * ck_affine_steps(dim) * 64; }

// The codes of line n of a block.
static inline uint16_t ck_affine_code(const uint16_t *block, size_t bits, size_t n, size_t word) {
    const size_t wide = bits == 3 ? 2 : bits, lines = 16 / wide;
    const unsigned low = block[n / lines * 32 + word] >> n % lines * wide & ((1u << wide) - 1);
    return (uint16_t)(bits == 3 ? low | (block[64 + word] >> n & 1u) << 2 : low);
}

static inline void ck_affine_expand(const void *part, size_t bits, size_t dim, int tokens_in_lanes, uint16_t *expanded) {
    const size_t steps = ck_affine_steps(dim);
    const uint8_t *zeros = ck_affine_zeros(bits, dim, part);
    for (size_t i = 0; i < AFFINE_BLOCKS * steps; i++) {
        const uint16_t *block = (const uint16_t *)part + i * bits * 32;
        const uint8_t *zero = zeros + i / steps * AFFINE_TOKENS;
        for (size_t n = 0; n < AFFINE_LINES; n++) {
            const size_t line = tokens_in_lanes ? i * AFFINE_LINES + n : (i / steps * AFFINE_TOKENS + n) * steps + i % steps;
            for (size_t word = 0; word < 32; word++) {
                const int own = zero[tokens_in_lanes ? word / 2 : n];
                const float value = (float)(ck_affine_code(block, bits, n, word) - own);
                expanded[line * 32 + word] = ck_bf16_from_f32(value);
            }
        }
    }
}
