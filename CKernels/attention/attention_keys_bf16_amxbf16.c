// Scores of bf16 keys, AMX BF16:
//
//   A  16 tokens x 32 channels, where they lie in the part
//   B  32 channels x 16 queries, rounded to bf16 and interleaved in pairs once a call
//   C  16 tokens x 16 queries, turned on its way into the rows of scores; x 4 where there are no more queries
//
// Two tiles of tokens meet one or two blocks of queries: C 0 1 / 2 3 for tokens (4, 5) by queries (6, 7).
#include "attention/kv_rows.h"
#include "support/isa.h"

#if CK_X86

enum { TILE = 16, TILE_BYTES = 1024, FEW = 4 };

static size_t blocks_of(size_t rows) { return (rows + TILE - 1) / TILE; }

size_t ck_attention_keys_bf16_amxbf16_scratch(size_t rows, size_t dim) {
    return blocks_of(rows) * ck_kv_row_bytes(CK_KV_BF16, dim) / 64 * TILE_BYTES;
}

CK_ISA_BEGIN(amxbf16)
#include "support/bf16_avx512.h"
#include "support/tile.h"
#include "attention/kv_ahead.h"
#include "attention/scores_amx.h"

static void configure(int few) {
    ck_tile_config config = {.palette = 1};
    const size_t queries = few ? 16 : 64;
    for (int c = 0; c < 4; c++) ck_tile_shape(&config, c, TILE, queries);
    ck_tile_shape(&config, 4, TILE, 64);
    ck_tile_shape(&config, 5, TILE, 64);
    ck_tile_shape(&config, 6, TILE, queries);
    ck_tile_shape(&config, 7, TILE, queries);
    ck_tile_configure(&config);
}

typedef struct {
    const char *k, *q;
    size_t row_bytes;  // of keys
} operands;

// C of 1 or 2 tiles of tokens by 1 or 2 blocks of queries.
CK_INLINE void multiply(const operands *of, ck_kv_ahead *ahead, int tiles, int blocks) {
    const size_t lines = of->row_bytes / 64;
    const char *k = of->k, *q = of->q;
    ck_tile_zero(0);
    if (blocks > 1) ck_tile_zero(1);
    if (tiles > 1) ck_tile_zero(2);
    if (tiles > 1 && blocks > 1) ck_tile_zero(3);
    for (size_t line = 0; line < lines; line++, k += 64, q += TILE_BYTES) {
        ck_tile_load(6, q, 64);
        ck_tile_load(4, k, of->row_bytes);
        ck_tile_dot_bf16(0, 4, 6);
        if (ahead) ck_kv_ahead_lines(ahead, (size_t)tiles * TILE);
        if (blocks > 1) {
            ck_tile_load(7, q + lines * TILE_BYTES, 64);
            ck_tile_dot_bf16(1, 4, 7);
        }
        if (tiles > 1) {
            ck_tile_load(5, k + TILE * of->row_bytes, of->row_bytes);
            ck_tile_dot_bf16(2, 5, 6);
        }
        if (tiles > 1 && blocks > 1) ck_tile_dot_bf16(3, 5, 7);
    }
}

// 16 tokens of up to 16 rows, or 4, from C.
CK_INLINE void store_scores(const char *c, float *scores, size_t stride, size_t rows, int few) {
    __m512 line[TILE];
    if (few) ck_few_scores_amx(c, line);
    else ck_scores_amx(c, line);
    CK_UNROLL
    for (size_t m = 0; m < TILE; m++)
        if (m < rows && (m < FEW || !few)) _mm512_storeu_ps(scores + m * stride, line[m]);
}

// 16 or 32 tokens by up to 32 queries.
CK_INLINE void group(const operands *of, float *scores, size_t stride, size_t rows, ck_kv_ahead *ahead, int few, int tiles,
                     int blocks) {
    _Alignas(64) char c[4][TILE_BYTES];
    multiply(of, ahead, tiles, blocks);
    const size_t c_stride = few ? 16 : 64;
    ck_tile_store(0, c[0], c_stride);
    if (blocks > 1) ck_tile_store(1, c[1], c_stride);
    if (tiles > 1) ck_tile_store(2, c[2], c_stride);
    if (tiles > 1 && blocks > 1) ck_tile_store(3, c[3], c_stride);
    ck_tile_fence();
    for (int t = 0; t < tiles; t++) {
        float *target = scores + TILE * t;
        store_scores(c[2 * t], target, stride, rows, few);
        if (blocks > 1) store_scores(c[2 * t + 1], target + TILE * stride, stride, rows - TILE, 0);
    }
}

void ck_attention_keys_bf16_amxbf16(const ck_kv_span *keys, const ck_attention_queries *queries, float *scores, size_t stride,
                                    void *scratch) {
    const size_t row_bytes = ck_kv_row_bytes(CK_KV_BF16, keys->dim), block_bytes = row_bytes / 64 * TILE_BYTES;
    const int few = queries->rows <= FEW;
    ck_pack_queries_amx(queries, keys->dim, row_bytes / 64, scratch);
    ck_tile_fence();
    configure(few);
    ck_kv_ahead ahead = ck_kv_ahead_begin(keys, CK_KV_TOKENS * row_bytes);
    for (size_t first = 0; first < keys->tokens; first += 2 * TILE)
        for (size_t m = 0; m < queries->rows; m += 2 * TILE) {
            const char *part = keys->parts[first / CK_KV_TOKENS];
            const operands of = {part + first % CK_KV_TOKENS * row_bytes, (const char *)scratch + m / TILE * block_bytes,
                                 row_bytes};
            float *target = scores + m * stride + first;
            const size_t rows = queries->rows - m;
            ck_kv_ahead *next = m == 0 ? &ahead : NULL;
            const int tiles = keys->tokens - first > TILE ? 2 : 1, blocks = rows > TILE ? 2 : 1;
#define GROUP(few, tiles, blocks) group(&of, target, stride, rows, next, few, tiles, blocks)
            if (few && tiles > 1) GROUP(1, 2, 1);
            else if (few) GROUP(1, 1, 1);
            else if (tiles > 1 && blocks > 1) GROUP(0, 2, 2);
            else if (tiles > 1) GROUP(0, 2, 1);
            else if (blocks > 1) GROUP(0, 1, 2);
            else GROUP(0, 1, 1);
#undef GROUP
        }
    ck_tile_release();
}

CK_ISA_END
#endif
