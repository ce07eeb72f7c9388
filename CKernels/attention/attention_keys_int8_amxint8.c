// Scores of int8 keys, AMX INT8. The queries are 16-bit integers of a step of their own, 256 h + l with h and l in int8:
//
//   A  16 tokens x 64 channels, where they lie in the part
//   B  64 channels x 16 columns: h of up to 8 queries, then l; interleaved in fours once a call
//   C  16 tokens x 16 columns, int32, exact; x 8 where there are at most 4 queries
//
// Two tiles of tokens meet one or two blocks of queries: C 0 1 / 2 3 for tokens (4, 5) by queries (6, 7). C is put together and
// turned on its way into the rows of scores.
#include <math.h>
#include "attention/kv_rows.h"
#include "support/isa.h"

#if CK_X86

enum { TILE = 16, BLOCK = 8, FEW = 4, TILE_BYTES = 1024 };

static size_t blocks_of(size_t rows) { return (rows + BLOCK - 1) / BLOCK; }
static size_t lines_of(size_t dim) { return ck_kv_row_bytes(CK_KV_INT8, dim) / 64; }

// For each block B and what the steps of its queries are worth; then a query and the planes of a block.
size_t ck_attention_keys_int8_amxint8_scratch(size_t rows, size_t dim) {
    return blocks_of(rows) * (lines_of(dim) * TILE_BYTES + 64) + lines_of(dim) * 64 * (sizeof(int16_t) + 2 * BLOCK);
}

CK_ISA_BEGIN(amxint8)
#include "support/tile.h"
#include "attention/int16_rows.h"
#include "attention/kv_ahead.h"
#include "attention/transpose_avx512.h"

enum { TILE_CHANNELS = 64, LINES_OF_SUM = CK_INT16_CHANNELS / TILE_CHANNELS };

typedef struct {
    const ck_kv_span *keys;
    const ck_attention_queries *queries;
    size_t lines;  // of a row of keys
    char *b;       // block by block, a tile for each line
    float *steps;  // block by block, 16 floats each
    int16_t *row;
    int8_t *planes;  // of a block
} work;

// B of a block of queries: their planes, the upper ones before the lower ones, turned line by line.
static void pack_queries(const work *w, size_t block, size_t columns) {
    const size_t padded = w->lines * TILE_CHANNELS;
    for (size_t i = 0; i < columns / 2 && block * BLOCK + i < w->queries->rows; i++) {
        const float *q = w->queries->q + (block * BLOCK + i) * w->queries->stride;
        int8_t *high = w->planes + i * padded, *low = high + columns / 2 * padded;
        w->steps[block * 16 + i] = ck_int16_row(q, w->keys->dim, padded, w->row);
        for (size_t c = 0; c < padded; c++) {
            high[c] = ck_int16_upper(w->row[c]);
            low[c] = ck_int16_lower(w->row[c]);
        }
    }
    char *tile = w->b + block * w->lines * TILE_BYTES;
    for (size_t line = 0; line < w->lines; line++, tile += TILE_BYTES) {
        __m512 column[TILE];
        for (size_t i = 0; i < TILE; i++)
            column[i] = i < columns ? _mm512_load_ps(w->planes + i * padded + line * 64) : _mm512_setzero_ps();
        ck_transpose16_avx512(column);
        for (size_t quad = 0; quad < TILE; quad++) _mm512_store_ps(tile + quad * 64, column[quad]);
    }
}

static void configure(size_t columns) {
    ck_tile_config config = {.palette = 1};
    for (int c = 0; c < 4; c++) ck_tile_shape(&config, c, TILE, columns * 4);
    ck_tile_shape(&config, 4, TILE, 64);
    ck_tile_shape(&config, 5, TILE, 64);
    ck_tile_shape(&config, 6, TILE, columns * 4);
    ck_tile_shape(&config, 7, TILE, columns * 4);
    ck_tile_configure(&config);
}

// C of 1 or 2 tiles of tokens by 1 or 2 blocks of queries, over some lines.
CK_INLINE void multiply(const char *k, size_t row_bytes, const char *q, size_t block_bytes, size_t lines, ck_kv_ahead *ahead,
                        int tiles, int blocks) {
    ck_tile_zero(0);
    if (blocks > 1) ck_tile_zero(1);
    if (tiles > 1) ck_tile_zero(2);
    if (tiles > 1 && blocks > 1) ck_tile_zero(3);
    for (size_t line = 0; line < lines; line++, k += 64, q += TILE_BYTES) {
        ck_tile_load(6, q, 64);
        ck_tile_load(4, k, row_bytes);
        ck_tile_dot_int8(0, 4, 6);
        if (ahead) ck_kv_ahead_lines(ahead, (size_t)tiles * TILE);
        if (blocks > 1) {
            ck_tile_load(7, q + block_bytes, 64);
            ck_tile_dot_int8(1, 4, 7);
        }
        if (tiles > 1) {
            ck_tile_load(5, k + TILE * row_bytes, row_bytes);
            ck_tile_dot_int8(2, 5, 6);
        }
        if (tiles > 1 && blocks > 1) ck_tile_dot_int8(3, 5, 7);
    }
}

// 256 h + l.
CK_INLINE __m512i join_planes(__m512i h, __m512i l) { return _mm512_add_epi32(_mm512_slli_epi32(h, 8), l); }

// Line m: the sums of 16 tokens with query m, from C.
CK_INLINE void join(const char *c, __m512 sums[BLOCK]) {
    __m512 line[TILE];
    for (int t = 0; t < TILE; t++) line[t] = _mm512_load_ps(c + 64 * t);
    ck_transpose16_avx512(line);
    CK_UNROLL
    for (int m = 0; m < BLOCK; m++)
        sums[m] = _mm512_cvtepi32_ps(join_planes(_mm512_castps_si512(line[m]), _mm512_castps_si512(line[BLOCK + m])));
}

// The same of C with 32 bytes to the token: four h, four l.
CK_INLINE void join_few(const char *c, __m512 sums[FEW]) {
    __m512i tokens[4];
    CK_UNROLL
    for (int i = 0; i < 4; i++) {
        const __m512 a = _mm512_load_ps(c + 128 * i), b = _mm512_load_ps(c + 128 * i + 64);
        const __m512i h = _mm512_castps_si512(_mm512_shuffle_f32x4(a, b, 0x88));
        const __m512i l = _mm512_castps_si512(_mm512_shuffle_f32x4(a, b, 0xDD));
        tokens[i] = _mm512_castps_si512(_mm512_cvtepi32_ps(join_planes(h, l)));
    }
    ck_turn_few_avx512(tokens, sums);
}

// 16 tokens of up to 8 queries.
CK_INLINE void store_scores(const __m512 *sums, const float *scales, const float *steps, float *scores, size_t stride,
                            size_t rows, int most) {
    const __m512 scale = _mm512_loadu_ps(scales);
    CK_UNROLL
    for (int m = 0; m < most; m++) {
        const __m512 unit = _mm512_mul_ps(scale, _mm512_set1_ps(steps[m]));
        if ((size_t)m < rows) _mm512_storeu_ps(scores + (size_t)m * stride, _mm512_mul_ps(sums[m], unit));
    }
}

// 16 or 32 tokens by up to 16 queries from row m on.
CK_INLINE void group(const work *w, size_t first, size_t m, float *scores, size_t stride, ck_kv_ahead *ahead, int few, int tiles,
                     int blocks) {
    _Alignas(64) char c[4][TILE_BYTES];
    __m512 sums[4][BLOCK];
    const size_t row_bytes = w->lines * 64, block_bytes = w->lines * TILE_BYTES, slot = first % CK_KV_TOKENS;
    const char *part = w->keys->parts[first / CK_KV_TOKENS];
    const char *k = part + slot * row_bytes, *q = w->b + m / BLOCK * block_bytes;
    const size_t c_stride = few ? 32 : 64;
    const int most = few ? FEW : BLOCK;
    for (size_t line = 0; line < w->lines; line += LINES_OF_SUM) {
        const size_t left = w->lines - line;
        multiply(k + 64 * line, row_bytes, q + line * TILE_BYTES, block_bytes, left < LINES_OF_SUM ? left : LINES_OF_SUM, ahead,
                 tiles, blocks);
        ck_tile_store(0, c[0], c_stride);
        if (blocks > 1) ck_tile_store(1, c[1], c_stride);
        if (tiles > 1) ck_tile_store(2, c[2], c_stride);
        if (tiles > 1 && blocks > 1) ck_tile_store(3, c[3], c_stride);
        ck_tile_fence();
        CK_UNROLL
        for (int i = 0; i < 4; i++) {
            if (i / 2 >= tiles || i % 2 >= blocks) continue;
            __m512 some[BLOCK];
            if (few) join_few(c[i], some);
            else join(c[i], some);
            CK_UNROLL
            for (int row = 0; row < most; row++) sums[i][row] = line == 0 ? some[row] : _mm512_add_ps(sums[i][row], some[row]);
        }
    }
    const float *scales = ck_kv_scales(w->keys->dim, part) + slot, *steps = w->steps + m / BLOCK * 16;
    const size_t rows = w->queries->rows - m;
    float *target = scores + m * stride + first;
    for (int t = 0; t < tiles; t++) {
        store_scores(sums[2 * t], scales + TILE * t, steps, target + TILE * t, stride, rows, most);
        if (blocks > 1)
            store_scores(sums[2 * t + 1], scales + TILE * t, steps + 16, target + TILE * t + BLOCK * stride, stride, rows - BLOCK,
                         most);
    }
}

void ck_attention_keys_int8_amxint8(const ck_kv_span *keys, const ck_attention_queries *queries, float *scores, size_t stride,
                                    void *scratch) {
    const size_t lines = lines_of(keys->dim), blocks = blocks_of(queries->rows);
    const int few = queries->rows <= FEW;
    float *steps = (float *)((char *)scratch + blocks * lines * TILE_BYTES);
    int16_t *row = (int16_t *)(steps + 16 * blocks);
    const work w = {keys, queries, lines, scratch, steps, row, (int8_t *)(row + lines * 64)};
    memset(w.planes, 0, lines * 64 * 2 * BLOCK);
    for (size_t block = 0; block < blocks; block++) pack_queries(&w, block, few ? 2 * FEW : 2 * BLOCK);
    ck_tile_fence();
    configure(few ? 2 * FEW : 2 * BLOCK);
    ck_kv_ahead ahead = ck_kv_ahead_begin(keys, ck_kv_part_bytes(CK_KV_INT8, keys->dim));
    for (size_t first = 0; first < keys->tokens; first += 2 * TILE) {
        if (first % CK_KV_TOKENS == 0) ck_kv_ahead_lines(&ahead, CK_KV_TOKENS * sizeof(float) / 64);
        for (size_t m = 0; m < queries->rows; m += 2 * BLOCK) {
            ck_kv_ahead *next = m == 0 ? &ahead : NULL;
            const int two_tiles = keys->tokens - first > TILE, two_blocks = queries->rows - m > BLOCK;
#define GROUP(few, tiles, blocks) group(&w, first, m, scores, stride, next, few, tiles, blocks)
            if (few && two_tiles) GROUP(1, 2, 1);
            else if (few) GROUP(1, 1, 1);
            else if (two_tiles && two_blocks) GROUP(0, 2, 2);
            else if (two_tiles) GROUP(0, 2, 1);
            else if (two_blocks) GROUP(0, 1, 2);
            else GROUP(0, 1, 1);
#undef GROUP
        }
    }
    ck_tile_release();
}

CK_ISA_END
#endif
