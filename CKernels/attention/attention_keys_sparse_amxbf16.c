// Scores of sparse keys, AMX BF16:
//
//   A  16 tokens x 32 channels, expanded
//   B  32 channels x 16 queries, rounded to bf16 and interleaved in pairs once a call
//   C  16 tokens x 16 queries, turned on its way into the rows of scores; x 4 where there are no more queries
//
// While the tile unit works on 16 tokens, the next 16 are expanded. Both kinds of work alternate in small pieces: each is far
// longer than what a core sees ahead.
#include "attention/sparse_rows.h"
#include "support/isa.h"

#if CK_X86

enum { TILE = 16, TILE_BYTES = 1024, FEW = 4, PIECE = 4 };  // tokens that are expanded beside one multiplication

static size_t query_tiles(size_t rows) { return (rows + TILE - 1) / TILE; }

// For each 16 queries B; A of two times 16 tokens.
size_t ck_attention_keys_sparse_amxbf16_scratch(size_t rows, size_t dim) {
    return (query_tiles(rows) + 2) * ck_sparse_lines(dim) * TILE_BYTES;
}

CK_ISA_BEGIN(amxbf16)
#include "support/bf16_avx512.h"
#include "support/expand_avx512.h"
#include "support/tile.h"
#include "attention/kv_ahead.h"
#include "attention/scores_amx.h"

typedef struct {
    const ck_kv_span *keys;
    ck_kv_type type;
    size_t lines, lines_ahead;  // of a row; of PIECE tokens, about
    char *b, *a;
} work;

CK_INLINE char *a_of(const work *w, size_t first) { return w->a + first / TILE % 2 * w->lines * TILE_BYTES; }

// PIECE tokens of the span into A, a row of each tile. `lines` is that of the work.
CK_INLINE void expand(const work *w, size_t token, size_t lines, char *a) {
    const void *part = w->keys->parts[token / CK_KV_TOKENS];
    const size_t slot = token % CK_KV_TOKENS, kept = ck_sparse_kept(w->type, w->keys->dim);
    const uint16_t *values = ck_sparse_values(w->type, w->keys->dim, part, slot);
    const uint32_t *masks = ck_sparse_masks(w->type, w->keys->dim, part, slot);
    CK_UNROLL
    for (size_t t = 0; t < PIECE; t++, a += 64, masks += lines) {
        const uint16_t *value = values + t * kept;
        for (size_t line = 0; line < lines; line++)
            _mm512_store_si512(a + line * TILE_BYTES, ck_expand_bf16(masks[line], &value));
    }
}

// Scores of 16 tokens with up to 16 queries, from C.
CK_INLINE void store_scores(const char *c, float *scores, size_t stride, size_t rows, int few) {
    __m512 sums[TILE];
    if (few) ck_few_scores_amx(c, sums);
    else ck_scores_amx(c, sums);
    CK_UNROLL
    for (size_t row = 0; row < TILE; row++)
        if (row < rows && (row < FEW || !few)) _mm512_storeu_ps(scores + row * stride, sums[row]);
}

// The 16 tokens from `first` on with all queries, while the 16 after them are expanded, if there are any.
CK_INLINE void group(const work *w, const ck_attention_queries *queries, size_t first, ck_kv_ahead *ahead, float *scores,
                     size_t stride, int few, size_t lines) {
    _Alignas(64) char c[TILE_BYTES];
    const size_t next = first + TILE;
    const char *a = a_of(w, first), *b = w->b;
    char *target = a_of(w, next);
    size_t t = next < w->keys->tokens ? 0 : TILE;
    for (size_t m = 0; m < queries->rows; m += TILE) {
        ck_tile_zero(0);
        for (size_t line = 0; line < lines; line++, b += TILE_BYTES) {
            ck_tile_load(1, a + line * TILE_BYTES, 64);
            ck_tile_load(2, b, 64);
            ck_tile_dot_bf16(0, 1, 2);
            if (t == TILE) continue;
            ck_kv_ahead_lines(ahead, w->lines_ahead);
            expand(w, next + t, lines, target + t * 64);
            t += PIECE;
        }
        ck_tile_store(0, c, few ? 4 * FEW : 64);
        ck_tile_fence();
        store_scores(c, scores + m * stride + first, stride, queries->rows - m, few);
    }
    for (; t < TILE; t += PIECE) expand(w, next + t, lines, target + t * 64);
    ck_tile_fence();
}

static void configure(int few) {
    ck_tile_config config = {.palette = 1};
    const size_t queries = few ? 4 * FEW : 64;
    ck_tile_shape(&config, 0, TILE, queries);
    ck_tile_shape(&config, 1, TILE, 64);
    ck_tile_shape(&config, 2, TILE, queries);
    ck_tile_configure(&config);
}

CK_INLINE void run(ck_kv_type type, const ck_kv_span *keys, const ck_attention_queries *queries, float *scores, size_t stride,
                   char *scratch) {
    const size_t lines = ck_sparse_lines(keys->dim), part_bytes = ck_sparse_part_bytes(type, keys->dim);
    const size_t pieces = CK_KV_TOKENS / PIECE;
    const work w = {keys,    type,
                    lines,   (part_bytes / 64 + pieces - 1) / pieces,
                    scratch, scratch + query_tiles(queries->rows) * lines * TILE_BYTES};
    const int few = queries->rows <= FEW;
    ck_pack_queries_amx(queries, keys->dim, lines, w.b);
    ck_tile_fence();
    configure(few);
    ck_kv_ahead ahead = ck_kv_ahead_begin(keys, part_bytes);
    for (size_t t = 0; t < TILE; t += PIECE) expand(&w, t, lines, w.a + t * 64);
    ck_tile_fence();
    for (size_t first = 0; first < keys->tokens; first += TILE) {
#define GROUP(few, lines) group(&w, queries, first, &ahead, scores, stride, few, lines)
        if (few && lines == 4) GROUP(1, 4);
        else if (few) GROUP(1, lines);
        else if (lines == 4) GROUP(0, 4);
        else GROUP(0, lines);
#undef GROUP
    }
    ck_tile_release();
}

void ck_attention_keys_sparse50_amxbf16(const ck_kv_span *keys, const ck_attention_queries *queries, float *scores, size_t stride,
                                        void *scratch) {
    run(CK_KV_SPARSE50, keys, queries, scores, stride, scratch);
}

void ck_attention_keys_sparse70_amxbf16(const ck_kv_span *keys, const ck_attention_queries *queries, float *scores, size_t stride,
                                        void *scratch) {
    run(CK_KV_SPARSE70, keys, queries, scores, stride, scratch);
}

CK_ISA_END
#endif
