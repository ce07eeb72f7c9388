// attention: softmax(scale Q K^T) V for the query rows that share one head of a key-value cache.
//
// Work is cut into chunks of at most CK_ATTENTION_CHUNK consecutive tokens. For a chunk three kernels run one after the other:
//
//     keys      scores[row][token]  = q[row] . k[token]
//     softmax   p[row][token]       = 2^(scale (score - max[row])), 0 where the row may not look; sum[row]
//     values    y[row][channel]     = sum over tokens of p[row][token] v[token][channel]
//
// and the chunks' (max, sum, y) are folded in the order of tokens by ck_attention_fold. Where chunks begin depends on positions
// alone, so neither the number of threads nor the other rows change a bit of a row.
//
// Keys and values may be stored in different types: each type has its own kernels, and any pair goes together. What a kernel
// makes of q and of p before it multiplies, bf16 or 16-bit integers, is its own affair; Docs/Numerics.md has it.
#pragma once
#include "ck.h"

#pragma clang assume_nonnull begin

#ifdef __cplusplus
extern "C" {
#endif

// A part: CK_KV_TOKENS consecutive tokens of one head, keys or values. Memory of a cache is handed out in parts.
#define CK_KV_TOKENS       64u
#define CK_ATTENTION_CHUNK 512u

// How a part stores its rows of `dim` elements, one row for each token. Bytes that no row was written to are 0.
//
//   CK_KV_BF16   64 rows of dim bf16, each padded with zeros to whole lines of 64 bytes.
//   CK_KV_INT8   64 rows of dim int8, each padded with zeros to whole lines of 64 bytes; then 64 floats: row t is worth
//                scale[t] times its integers. The integers are -127...127.
//   CK_KV_RAZER_KEYS, CK_KV_RAZER_VALUES   4-bit codes, E2M1 with a special value in place of -0 (RaZeR, arXiv 2501.04052).
//                A token's channels share a power of two, 2^(exponent - 127); 16 consecutive channels share an E4M3 scale
//                (bias 7, exponent field 1...15, below 0x7F) whose sign bit says that the special value is -5 instead of 5.
//                dim is padded with zeros to 32 for keys, to 16 for values.
//
//                keys     the 32-channel blocks of token 0, of token 1, ...; four blocks to a line of 64 bytes: block b is
//                         nibble b % 4 of the line's 32 words, a word for each channel
//                         64 x padded dim / 16 scales, those of token 0 first
//                         64 exponents
//                values   for each 16 channels: 8 lines of 8 tokens each; dword c of a line is channel c, its words are tokens
//                         0 2 4 6 and 1 3 5 7, a nibble each; then 64 scales
//                         64 exponents
//
//                A row with NaN or infinity has the exponent 255 and codes 0, and is read as NaN.
//   CK_KV_LATENT_BF16   latents of keys, which ck_latent_attention.h reads: tokens in lanes, four blocks of 16. A block has a
//                line of 64 bytes for each two elements, dim rounded up to 32: those of its token 0, of token 1, ... 15.
//   CK_KV_AFFINE8, 4, 3, 2   rows of dim codes of so many bits, dim rounded up to 32, with a scale and a zero for each token:
//                scale (code - zero). attention/kv_affine.h draws them.
//   CK_KV_LATENT_AFFINE8, 4, 3, 2   the same of latents of keys, tokens in lanes.
//   CK_KV_SPARSE50, CK_KV_SPARSE70   rows of at most CK_KV_SPARSE_DIM elements without half, or 70%, of them: the smallest, as
//                attention/sparse_rows.h draws them. Every row has the same number of bytes.
typedef enum __attribute__((enum_extensibility(open))) : uint32_t {
    CK_KV_BF16           = 0,
    CK_KV_INT8           = 1,
    CK_KV_RAZER_KEYS     = 2,
    CK_KV_RAZER_VALUES   = 3,
    CK_KV_AFFINE8        = 8,
    CK_KV_AFFINE4        = 9,
    CK_KV_AFFINE3        = 10,
    CK_KV_AFFINE2        = 11,
    CK_KV_LATENT_BF16    = 16,
    CK_KV_LATENT_AFFINE8 = 24,
    CK_KV_LATENT_AFFINE4 = 25,
    CK_KV_LATENT_AFFINE3 = 26,
    CK_KV_LATENT_AFFINE2 = 27,
    CK_KV_SPARSE50       = 32,
    CK_KV_SPARSE70       = 33,
} ck_kv_type;

#define CK_KV_SPARSE_DIM 4096u

// Bytes of a part, a multiple of 64; 0 where the type is unknown or the size overflows.
size_t ck_kv_part_bytes(ck_kv_type type, size_t dim);

// Stores `row` (dim floats) as token `slot` of a part, rounded to nearest even or quantised: int8 rows as ck_x_quantize_f32
// does, RaZeR and sparse rows by the rules of Docs/Numerics.md, codes of few bits as Docs/LowRank.md, 5, defines them. Writes the
// row, its padding, its scale and zero, and changes nothing of other tokens.
void ck_kv_write(ck_kv_type type, size_t dim, void *part, size_t slot, const float *row);
// What 1 is worth in the codes of a channel: 1 for formats without scales.
float ck_kv_scale(ck_kv_type type, size_t dim, const void *part, size_t slot, size_t channel);
// What is stored, as floats.
void ck_kv_read(ck_kv_type type, size_t dim, const void *part, size_t slot, float *row);
// Copies a token between parts, bit for bit.
void ck_kv_copy(ck_kv_type type, size_t dim, const void *from, size_t from_slot, void *to, size_t to_slot);

// The keys or the values of a chunk.
typedef struct {
    const void *_Nonnull const *_Nonnull parts;  // one for each started CK_KV_TOKENS tokens, 64-byte aligned
    size_t tokens;                               // 1...CK_ATTENTION_CHUNK; what rows of later tokens hold changes nothing
    size_t dim;                                  // elements of a row
    const void *_Nullable next;                  // what the thread reads afterwards: a hint, as many bytes as a part has
} ck_kv_span;

// Rows of q: `rows` rows of keys.dim floats, `stride` elements apart.
typedef struct {
    size_t       rows;
    const float *q;
    size_t       stride;
} ck_attention_queries;

// scores[row * stride + token]; stride is at least `tokens` rounded up to 16, and scores beyond `tokens` up to there may be
// written with anything.
typedef struct __attribute__((swift_attr("@Sendable"))) {
    const char *name;  // "attention_keys_bf16_avx2"; the last part is the ISA tag
    ck_kv_type  type;
    ck_isa      isa;
    uint32_t    min_rows;                              // chosen from this many query rows on; it computes any number
    size_t (*scratch_bytes)(size_t rows, size_t dim);  // a multiple of 64, 64-byte aligned
    void (*run)(const ck_kv_span *keys, const ck_attention_queries *queries, float *scores, size_t stride,
                void *_Nullable scratch);
} ck_attention_keys_variant;

// y[row * y_stride + channel], overwritten. p[row * p_stride + token] holds CK_KV_TOKENS times the number of parts elements a
// row; those beyond `tokens` are 0. A token that a row may not see adds 0 times its values: NaN if they are infinite or NaN.
typedef struct __attribute__((swift_attr("@Sendable"))) {
    const char *name;
    ck_kv_type  type;
    ck_isa      isa;
    uint32_t    min_rows;
    size_t (*scratch_bytes)(size_t rows, size_t dim);
    void (*run)(const ck_kv_span *values, size_t rows, const float *p, size_t p_stride, float *y, size_t y_stride,
                void *_Nullable scratch);
} ck_attention_values_variant;

// In place: scores in, p out. Elements from `tokens` up to the next multiple of CK_KV_TOKENS become 0.
//
//   first     the position of the chunk's first token
//   scale     the scores' factor times log2(e), positive
//   visible   row r sees positions 0 ..< visible[r] ...
//   tree      ... and of the 64 positions from tree_first on only those whose bit in tree[r] is set; NULL: all of them
//   max, sum  for each row: the largest score that it sees, and the sum of its p. -inf and 0 where it sees none.
//
// The largest score's p is 1, so a row that sees something has a sum of 1 or more, whatever scale * score would be. NaN among the
// scores that a row sees makes its sum NaN; so does an infinite largest score.
typedef struct {
    size_t          rows, tokens, first;
    float           scale;
    const uint32_t *visible;
    size_t          tree_first;
    const uint64_t *_Nullable tree;
    float *scores;
    size_t stride;
    float *max, *sum;
} ck_attention_softmax_call;

typedef struct __attribute__((swift_attr("@Sendable"))) {
    const char *name;
    ck_isa      isa;
    void (*run)(const ck_attention_softmax_call *call);
} ck_attention_softmax_variant;

// Best first for each type; the scalar references are last and need nothing.
const ck_attention_keys_variant *ck_attention_keys_variants(size_t *count);
const ck_attention_values_variant *ck_attention_values_variants(size_t *count);
const ck_attention_softmax_variant *ck_attention_softmax_variants(size_t *count);

// Adds a chunk's (max, sum, y) to a row's running one, which begins as (-inf, 0, anything), with the softmax's scale:
//
//     m' = max(m, chunk);  sum = sum 2^(scale (m - m')) + chunk's 2^(scale (chunk - m'));  y likewise
void ck_attention_fold(size_t dim, float scale, float *max, float *sum, float *y, float chunk_max, float chunk_sum,
                       const float *chunk_y);
// y / sum, in place. A row that saw nothing becomes 0.
void ck_attention_finish(size_t dim, float sum, float *y);

// Rotary position embedding of one head, in place: `pairs` pairs (u, v) become (u cos - v sin, v cos + u sin). A pair is elements
// i and i + pairs (halves), or 2i and 2i + 1 (interleaved).
void ck_rotate_halves(float *row, size_t pairs, const float *cosines, const float *sines);
void ck_rotate_interleaved(float *row, size_t pairs, const float *cosines, const float *sines);

#ifdef __cplusplus
}
#endif

#pragma clang assume_nonnull end
