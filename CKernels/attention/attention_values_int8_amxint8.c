// Sums of int8 values, AMX INT8. For each part a row of p, times the scales of the tokens, becomes 16-bit integers of one step,
// 256 h + l with h and l in int8:
//
//   A  up to 16 rows x 64 tokens: h of up to 8 rows of p, then l
//   B  64 tokens x 16 channels in fours of tokens: four tiles for a line of channels, as unpacking the rows of four tokens has it
//   C  rows x 16 channels, int32, exact; joins the sums in fp32 with one multiply-add
//
// A unit is up to two lines of a part. The next unit is unpacked before one is multiplied, so that its stores have arrived when
// its tiles are loaded. The order that unpacking leaves is mended once, at the end.
#include <math.h>
#include "attention/kv_rows.h"
#include "support/isa.h"

#if CK_X86

enum {
    TILE = 16,
    BLOCK = 8,
    TILE_BYTES = 1024,
    UNIT_LINES = 2,
    UNIT_BYTES = UNIT_LINES * 4 * TILE_BYTES,
};

static size_t blocks_of(size_t rows) { return (rows + BLOCK - 1) / BLOCK; }
static size_t lines_of(size_t dim) { return ck_kv_row_bytes(CK_KV_INT8, dim) / 64; }

// Two units; four tiles of C; for each block of 8 rows A of two parts, what their steps are worth, and for each line the sums.
size_t ck_attention_values_int8_amxint8_scratch(size_t rows, size_t dim) {
    return 2 * UNIT_BYTES + 4 * TILE_BYTES + blocks_of(rows) * (2 * TILE_BYTES + 2 * 64 + lines_of(dim) * 4 * BLOCK * 64);
}

CK_ISA_BEGIN(amxint8)
#include "support/tile.h"
#include "attention/int16_rows.h"
#include "attention/kv_ahead.h"
#include "attention/quarters_avx512.h"

typedef struct {
    const ck_kv_span *values;
    size_t rows, lines, block_rows;
    const float *p;
    size_t p_stride;
    char *units;   // two
    char *c;       // four tiles
    char *a;       // of even and of odd parts, block by block
    float *steps;  // of even and of odd parts, block by block, 16 floats each
    float *sums;   // block by block, line by line: for each of four tiles of channels `BLOCK` rows of 16 floats
} work;

CK_INLINE char *a_of(const work *w, size_t part, size_t block) {
    return w->a + (part % 2 * blocks_of(w->rows) + block) * TILE_BYTES;
}
CK_INLINE float *steps_of(const work *w, size_t part, size_t block) {
    return w->steps + (part % 2 * blocks_of(w->rows) + block) * 16;
}

// A of a part, and what its steps are worth.
static void pack_weights(const work *w, size_t part) {
    const float *scales = ck_kv_scales(w->values->dim, w->values->parts[part]);
    const size_t tokens = ck_kv_part_tokens(w->values, part);
    for (size_t m = 0; m < w->rows; m++) {
        int16_t weights[CK_KV_TOKENS];
        steps_of(w, part, m / BLOCK)[m % BLOCK] =
            ck_int16_weights(w->p + m * w->p_stride + part * CK_KV_TOKENS, scales, tokens, weights);
        char *high = a_of(w, part, m / BLOCK) + m % BLOCK * 64, *low = high + w->block_rows * 64;
        for (size_t t = 0; t < CK_KV_TOKENS; t++) {
            high[t] = ck_int16_upper(weights[t]);
            low[t] = ck_int16_lower(weights[t]);
        }
    }
}

static void configure(size_t block_rows) {
    ck_tile_config config = {.palette = 1};
    for (int c = 0; c < 4; c++) ck_tile_shape(&config, c, 2 * block_rows, 64);
    ck_tile_shape(&config, 4, 2 * block_rows, 64);
    ck_tile_shape(&config, 6, TILE, 64);
    ck_tile_shape(&config, 7, TILE, 64);
    ck_tile_configure(&config);
}

// Unpacks a part's lines: tile i of a line has channels 16 q + 4 i ... of its quarters q. Rows behind the last token meet
// weights of 0.
CK_INLINE void unpack(const char *v, size_t row_bytes, char *unit, ck_kv_ahead *ahead, int lines) {
    for (size_t t = 0; t < CK_KV_TOKENS; t += 4) {
        ck_kv_ahead_lines(ahead, 4 * (size_t)lines);
        CK_UNROLL
        for (int line = 0; line < lines; line++) {
            const char *at = v + t * row_bytes + 64 * line;
            char *target = unit + 4 * line * TILE_BYTES + t / 4 * 64;
            const __m512i a = _mm512_load_si512(at), b = _mm512_load_si512(at + row_bytes);
            const __m512i c = _mm512_load_si512(at + 2 * row_bytes), d = _mm512_load_si512(at + 3 * row_bytes);
            const __m512i ab = _mm512_unpacklo_epi8(a, b), cd = _mm512_unpacklo_epi8(c, d);
            const __m512i ab_high = _mm512_unpackhi_epi8(a, b), cd_high = _mm512_unpackhi_epi8(c, d);
            _mm512_store_si512(target, _mm512_unpacklo_epi16(ab, cd));
            _mm512_store_si512(target + TILE_BYTES, _mm512_unpackhi_epi16(ab, cd));
            _mm512_store_si512(target + 2 * TILE_BYTES, _mm512_unpacklo_epi16(ab_high, cd_high));
            _mm512_store_si512(target + 3 * TILE_BYTES, _mm512_unpackhi_epi16(ab_high, cd_high));
        }
    }
}

// A line of a unit with a block of rows.
static void multiply_line(const work *w, const char *unit, size_t part, size_t block, size_t line) {
    ck_tile_load(4, a_of(w, part, block), 64);
#define TIMES(tile, b)                                                                                                           \
    do {                                                                                                                         \
        ck_tile_zero(tile);                                                                                                      \
        ck_tile_load(b, unit + (tile) * TILE_BYTES, 64);                                                                         \
        ck_tile_dot_int8(tile, 4, b);                                                                                            \
        ck_tile_store(tile, w->c + (tile) * TILE_BYTES, 64);                                                                     \
    } while (0)
    TIMES(0, 6);
    TIMES(1, 7);
    TIMES(2, 6);
    TIMES(3, 7);
#undef TIMES
    ck_tile_fence();
    const float *steps = steps_of(w, part, block);
    float *sums = w->sums + (block * w->lines + line) * 4 * BLOCK * 16;
    for (size_t m = 0; m < w->block_rows; m++) {
        const __m512 step = _mm512_set1_ps(steps[m]);
        CK_UNROLL
        for (size_t i = 0; i < 4; i++) {
            const char *c = w->c + i * TILE_BYTES + m * 64;
            const __m512i h = _mm512_load_si512(c), l = _mm512_load_si512(c + w->block_rows * 64);
            const __m512 sum = _mm512_cvtepi32_ps(_mm512_add_epi32(_mm512_slli_epi32(h, 8), l));
            float *at = sums + (m * 4 + i) * 16;
            _mm512_store_ps(at, _mm512_fmadd_ps(sum, step, _mm512_load_ps(at)));
        }
    }
    ck_tile_fence();
}

// Unit `index`: the parts' units one after the other.
typedef struct {
    size_t part, line;
    int lines;
} unit_place;

CK_INLINE unit_place place_of(const work *w, size_t index) {
    const size_t units = (w->lines + UNIT_LINES - 1) / UNIT_LINES, line = index % units * UNIT_LINES;
    return (unit_place){index / units, line, w->lines - line > 1 ? 2 : 1};
}

static void prepare_unit(const work *w, size_t index, ck_kv_ahead *ahead) {
    const unit_place place = place_of(w, index);
    const char *v = (const char *)w->values->parts[place.part] + place.line * 64;
    char *unit = w->units + index % 2 * UNIT_BYTES;
    if (place.line == 0) {
        ck_kv_ahead_lines(ahead, CK_KV_TOKENS * sizeof(float) / 64);
        pack_weights(w, place.part);
    }
    if (place.lines > 1) unpack(v, w->lines * 64, unit, ahead, 2);
    else unpack(v, w->lines * 64, unit, ahead, 1);
    ck_tile_fence();
}

static void multiply_unit(const work *w, size_t index) {
    const unit_place place = place_of(w, index);
    const char *unit = w->units + index % 2 * UNIT_BYTES;
    for (size_t block = 0; block < blocks_of(w->rows); block++)
        for (int line = 0; line < place.lines; line++)
            multiply_line(w, unit + 4 * line * TILE_BYTES, place.part, block, place.line + (size_t)line);
}

static void finish(const work *w, float *y, size_t y_stride) {
    for (size_t m = 0; m < w->rows; m++)
        for (size_t line = 0; line < w->lines; line++) {
            const float *sums = w->sums + ((m / BLOCK * w->lines + line) * BLOCK + m % BLOCK) * 4 * 16;
            ck_store_quarters_avx512(y + m * y_stride + 64 * line, w->values->dim - 64 * line, sums);
        }
}

void ck_attention_values_int8_amxint8(const ck_kv_span *values, size_t rows, const float *p, size_t p_stride, float *y,
                                      size_t y_stride, void *scratch) {
    const size_t lines = lines_of(values->dim), blocks = blocks_of(rows);
    const size_t units = ck_kv_parts(values->tokens) * ((lines + UNIT_LINES - 1) / UNIT_LINES);
    char *c = (char *)scratch + 2 * UNIT_BYTES, *a = c + 4 * TILE_BYTES, *steps = a + 2 * blocks * TILE_BYTES;
    const work w = {.values = values,
                    .rows = rows,
                    .lines = lines,
                    .block_rows = rows < BLOCK ? rows : BLOCK,
                    .p = p,
                    .p_stride = p_stride,
                    .units = scratch,
                    .c = c,
                    .a = a,
                    .steps = (float *)steps,
                    .sums = (float *)(steps + 2 * blocks * 64)};
    memset(a, 0, blocks * (2 * TILE_BYTES + 2 * 64 + lines * 4 * BLOCK * 64));
    configure(w.block_rows);
    ck_kv_ahead ahead = ck_kv_ahead_begin(values, ck_kv_part_bytes(CK_KV_INT8, values->dim));
    prepare_unit(&w, 0, &ahead);
    for (size_t unit = 0; unit < units; unit++) {
        if (unit + 1 < units) prepare_unit(&w, unit + 1, &ahead);
        multiply_unit(&w, unit);
    }
    finish(&w, y, y_stride);
    ck_tile_release();
}

CK_ISA_END
#endif
