// latent attention: scores of keys that are rebuilt from latents of low rank (Palu, arXiv 2407.21118). The heads of a group share
// one latent a token:
//
//     k[token][head] = R(position) (B[head] latent[token] + bias[head])
//     scores[row][token] = q[row] . k[token][head of the row]
//
// where R turns pairs of elements (rotary position embedding), so that B cannot move into the query. Keys are rebuilt in fp32 for
// a few tokens and elements at a time, multiplied with all query rows of their head, and forgotten; nothing rounds them.
//
// AMX kernels treat pairs that turn little within a chunk of 512 tokens in another way: their cosines and sines are polynomials
// of the token with a few terms, so for each term B does move into the query. What it becomes is rounded to bf16, as kernels of
// dense keys round queries; the polynomials are off by 2^-13 at most.
//
// The kernel takes the place of ck_attention_keys for a chunk of tokens. What is left of attention on latents needs no kernels of
// its own:
//
//   values       y = p H is ck_attention_values with dim = rank, for all query rows of the group; B is applied to y.
//   no rotation  q . (B h) = (B^T q) . h is ck_attention_keys with dim = rank.
#pragma once
#include "ck_attention.h"

#pragma clang assume_nonnull begin

#ifdef __cplusplus
extern "C" {
#endif

// Which elements of the `rotated` first ones of a head form pair i.
typedef enum __attribute__((enum_extensibility(open))) : uint32_t {
    CK_PAIRS_HALVES      = 0,  // i and i + rotated / 2
    CK_PAIRS_INTERLEAVED = 1,  // 2 i and 2 i + 1
} ck_pairing;

// The heads that share a latent.
typedef struct {
    size_t     rank;     // elements of a latent
    size_t     dim;      // elements of a head, even
    size_t     heads;    // 1 or more
    size_t     rotated;  // elements of a head that turn, even, at most dim; those behind them stay
    ck_pairing pairing;
    const void *_Nullable b;      // packed by ck_latent_pack, 64-byte aligned
    const float *_Nullable bias;  // packed by ck_latent_pack_bias, 64-byte aligned; NULL: none
} ck_latent_group;

// CK_ERR_SHAPE where a size is zero, odd, larger than what holds it, or where bytes would overflow.
ck_status ck_latent_validate(const ck_latent_group *group);

// B is packed as bf16 in the tiles that multiply it. A strip is 16 pairs: first its lower, then its upper elements, so that both
// partners of a pair are rebuilt together. A step is 32 ranks.
//
//     b     [head][strip][step][lower, upper][16 pairs][32 ranks] bf16, the padding 0
//     bias  [head][strip][lower, upper][16 pairs] fp32, the padding 0
//
// The packed heads of a group lie one after the other: each can be used as a group of its own.
size_t ck_latent_packed_bytes(const ck_latent_group *group);
size_t ck_latent_packed_bias_bytes(const ck_latent_group *group);
// From row-major w[heads * dim][rank], as linear layers store it, rows `stride` elements apart, rounded to nearest even; and
// from bias[heads * dim].
void ck_latent_pack(const ck_latent_group *group, const float *w, size_t stride, void *b);
void ck_latent_pack_bias(const ck_latent_group *group, const float *bias, float *packed);
// The bf16 that are packed.
void ck_latent_unpack(const ck_latent_group *group, uint16_t *w, size_t stride);

// Angles. A token's position is first + 32 block + t, and R(first + 32 block + t) = R(first) R(32 block) R(t): queries turn back
// by R(first) once a chunk and by R(32 block) once a block, so keys turn by R(t) alone, whose cosines and sines stay in the
// L1 cache. All are rounded from double to fp32.
//
// Tokens that were gathered from anywhere have nothing in common that queries could turn back by: keys turn by the whole of
// their position then, all pairs of them, and origin is that of position 0, which turns nothing.
#define CK_LATENT_TOKENS 32u
typedef struct {
    const float *table;               // ck_latent_table_bytes: for any chunk, any layer
    const float *origin;              // ck_latent_origin_bytes: of the position of the chunk's first token
    const float *_Nullable gathered;  // ck_latent_gathered_bytes: of each token's position; NULL: positions follow each other
} ck_latent_angles;

size_t ck_latent_table_bytes(size_t dim);
size_t ck_latent_origin_bytes(size_t dim);
// frequencies: radians a position of each of the rotated / 2 pairs. Both write what is 64-byte aligned. The table also has the
// polynomials of pairs that turn little.
void ck_latent_make_table(const double *frequencies, size_t rotated, size_t dim, float *table);
void ck_latent_make_origin(const double *frequencies, size_t rotated, size_t dim, size_t position, float *origin);

// Bytes of the angles of a chunk's gathered tokens.
size_t ck_latent_gathered_bytes(size_t dim);
// Puts the angles of 1...CK_ATTENTION_CHUNK positions together, in fp32, from their three parts. origins: those of positions
// 0, CK_ATTENTION_CHUNK, 2 CK_ATTENTION_CHUNK, ..., one after the other, up to the chunk of the largest position.
void ck_latent_gather_angles(const float *table, const float *origins, size_t dim, const uint32_t *positions, size_t tokens,
                             float *gathered);

// The chunk's latents are parts of type `type`, latents.dim = group.rank; unlike those of other types they are read in whole
// blocks of CK_LATENT_TOKENS, of which later tokens change nothing. queries.rows is a multiple of group.heads: row
// head * (rows / heads) + i belongs to `head`. Rows have group.dim floats and are turned to their own positions already. Scores
// as in ck_attention_keys_variant.
typedef struct __attribute__((swift_attr("@Sendable"))) {
    const char *name;  // "latent_keys_bf16_amxbf16"; the last part is the ISA tag
    ck_kv_type  type;
    ck_isa      isa;
    size_t (*scratch_bytes)(const ck_latent_group *group, size_t rows);  // 64-byte aligned, contents irrelevant
    void (*run)(const ck_latent_group *group, const ck_latent_angles *angles, const ck_kv_span *latents,
                const ck_attention_queries *queries, float *scores, size_t stride, void *_Nullable scratch);
} ck_latent_keys_variant;

// Best first for each type; the scalar references are last and need nothing.
const ck_latent_keys_variant *ck_latent_keys_variants(size_t *count);

#ifdef __cplusplus
}
#endif

#pragma clang assume_nonnull end
