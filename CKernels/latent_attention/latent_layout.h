// How the kernels cut their work, and where its pieces lie.
//
//   step    32 ranks: a line of B, and what one tile multiply or 16 pair products add
//   strip   16 pairs of a head: 16 lower and 16 upper elements
//   block   CK_LATENT_TOKENS tokens, two groups of 16 lanes
#pragma once
#include "ck_latent_attention.h"

enum {
    LATENT_LANES = 16,        // tokens of a group of lanes
    LATENT_PAIRS = 16,        // of a strip
    LATENT_STEP_RANKS = 32,   // of a step
    LATENT_TILE_BYTES = 1024  // 16 lines: of B, 16 elements x 32 ranks; of latents, 16 x 2 ranks x 16 tokens
};

static inline size_t ck_latent_strips(size_t dim) { return (dim / 2 + LATENT_PAIRS - 1) / LATENT_PAIRS; }
static inline size_t ck_latent_steps(size_t rank) { return (rank + LATENT_STEP_RANKS - 1) / LATENT_STEP_RANKS; }

// The lower (half 0) or upper element of a pair. Elements that do not turn form pairs of neighbours.
static inline size_t ck_latent_element(const ck_latent_group *group, size_t pair, size_t half) {
    const size_t turning = group->rotated / 2;
    return pair < turning && group->pairing == CK_PAIRS_HALVES ? pair + half * turning : 2 * pair + half;
}

// The tiles of a strip: for each step the lower, then the upper elements.
static inline const char *ck_latent_b(const ck_latent_group *group, size_t head, size_t strip) {
    const size_t strips = ck_latent_strips(group->dim), steps = ck_latent_steps(group->rank);
    return (const char *)group->b + (head * strips + strip) * steps * 2 * LATENT_TILE_BYTES;
}

// [lower, upper][16 pairs]
static inline const float *ck_latent_bias(const ck_latent_group *group, size_t head, size_t strip) {
    return group->bias ? group->bias + (head * ck_latent_strips(group->dim) + strip) * 2 * LATENT_PAIRS : NULL;
}

// The table: for each pair 32 cosines and 32 sines of R(t); then for each block of a chunk the cosines and the sines of all
// pairs; then the same for each t. Gathered tokens: [block of 32 tokens][pair][cosine, sine][32 tokens].
static inline const float *ck_latent_token_angles(const ck_latent_angles *angles, size_t dim, size_t block, size_t strip) {
    const size_t strip_floats = LATENT_PAIRS * 2 * CK_LATENT_TOKENS;
    return angles->gathered ? angles->gathered + (block * ck_latent_strips(dim) + strip) * strip_floats
                            : angles->table + strip * strip_floats;
}

// Of a block within its chunk: those of block 0, which turn nothing, where tokens were gathered.
static inline const float *ck_latent_block_angles(const ck_latent_angles *angles, size_t dim, size_t block) {
    const size_t pairs = ck_latent_strips(dim) * LATENT_PAIRS;
    return angles->table + pairs * 2 * (CK_LATENT_TOKENS + (angles->gathered ? 0 : block));
}

// Slow strips: over a chunk their pairs turn so little that cosines and sines are polynomials of the token,
//
//     cos(w t) = sum over terms j of cosine[j][pair] basis[j][t] + an error of at most LATENT_TERM_ERROR,   sin likewise
//
// with Chebyshev's polynomials over the chunk's tokens as basis. Behind the angles lies
//
//     basis  [term][CK_ATTENTION_CHUNK]    coefficients  [term][cosine, sine][pair]    order  [strip], the quick ones first
enum { LATENT_MOST_TERMS = 12 };
#define LATENT_TERM_ERROR 0x1p-13

typedef struct {
    size_t terms, quick;  // of the slow strips; strips that are not slow
    const uint32_t *order;
    const float *basis, *coefficients;
} latent_terms;

enum { LATENT_CHUNK_BLOCKS = CK_ATTENTION_CHUNK / CK_LATENT_TOKENS };

static inline size_t ck_latent_angle_floats(size_t dim) {
    return ck_latent_strips(dim) * LATENT_PAIRS * 2 * (2 * CK_LATENT_TOKENS + LATENT_CHUNK_BLOCKS);
}

static inline latent_terms ck_latent_terms(const ck_latent_angles *angles, size_t dim) {
    const size_t strips = ck_latent_strips(dim), pairs = strips * LATENT_PAIRS;
    const float *basis = angles->table + ck_latent_angle_floats(dim);
    const float *coefficients = basis + LATENT_MOST_TERMS * CK_ATTENTION_CHUNK;
    const uint32_t *counts = (const uint32_t *)(const void *)(coefficients + LATENT_MOST_TERMS * 2 * pairs);
    // No polynomial of the token follows positions that were gathered.
    const size_t terms = angles->gathered ? 0 : counts[0], quick = angles->gathered ? strips : counts[1];
    return (latent_terms){terms, quick, counts + 2, basis, coefficients};
}
