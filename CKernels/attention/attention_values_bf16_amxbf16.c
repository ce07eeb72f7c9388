// Sums of bf16 values, AMX BF16:
//
//   A  up to 16 rows of p x 32 tokens, rounded to bf16 once a call
//   B  32 tokens x 16 channels, in pairs of tokens: what unpacking the rows of two tokens gives, low and high
//   C  rows x 16 channels; between the parts of a span it waits in scratch
//
// A unit is two lines of channels of a part: 8 tiles of B. The next unit is unpacked before one is multiplied, so that its
// stores have arrived when its tiles are loaded. The order that unpacking leaves is mended once, at the end.
#include "attention/kv_rows.h"
#include "support/isa.h"

#if CK_X86

enum {
    TILE = 16,
    TILE_BYTES = 1024,
    STEP = 32,                          // tokens of a tile
    STEPS = CK_ATTENTION_CHUNK / STEP,  // tiles of p of 16 rows
    UNIT_LINES = 2,
    UNIT_BYTES = UNIT_LINES * 4 * TILE_BYTES,
};

static size_t blocks_of(size_t rows) { return (rows + TILE - 1) / TILE; }
static size_t lines_of(size_t dim) { return ck_kv_row_bytes(CK_KV_BF16, dim) / 64; }

// Two units; for each block of 16 rows p and C.
size_t ck_attention_values_bf16_amxbf16_scratch(size_t rows, size_t dim) {
    return 2 * UNIT_BYTES + blocks_of(rows) * (STEPS + 2 * lines_of(dim)) * TILE_BYTES;
}

CK_ISA_BEGIN(amxbf16)
#include "support/bf16_avx512.h"
#include "support/tile.h"
#include "attention/kv_ahead.h"
#include "attention/lanes_avx512.h"

typedef struct {
    const ck_kv_span *values;
    size_t rows, lines;
    char *units;  // two
    char *p;      // block by block, STEPS tiles each
    char *c;      // block by block, for each line its low and its high tile
} work;

static void round_p(const work *w, const float *p, size_t p_stride) {
    const size_t tokens = ck_kv_parts(w->values->tokens) * CK_KV_TOKENS;
    for (size_t m = 0; m < blocks_of(w->rows) * TILE; m++) {
        char *row = w->p + m / TILE * STEPS * TILE_BYTES + m % TILE * 64;
        for (size_t t = 0; t < tokens; t += STEP)
            _mm512_store_si512(row + t / STEP * TILE_BYTES,
                               m < w->rows ? ck_round_line_avx512(p + m * p_stride + t, STEP) : _mm512_setzero_si512());
    }
}

static void configure(size_t rows) {
    ck_tile_config config = {.palette = 1};
    for (int c = 0; c < 4; c++) ck_tile_shape(&config, c, rows, 64);
    ck_tile_shape(&config, 4, rows, 64);
    ck_tile_shape(&config, 5, rows, 64);
    ck_tile_shape(&config, 6, TILE, 64);
    ck_tile_shape(&config, 7, TILE, 64);
    ck_tile_configure(&config);
}

// Unpacks `lines` lines of a part: for each line the low and the high tile of the first 32 tokens, then of the next.
CK_INLINE void unpack(const char *v, size_t row_bytes, size_t tokens, char *unit, ck_kv_ahead *ahead, int lines) {
    const __m512i nothing = _mm512_setzero_si512();
    for (size_t t = 0; t < (tokens + STEP - 1) / STEP * STEP; t += 2) {
        char *target = unit + t / STEP * 2 * TILE_BYTES + t % STEP / 2 * 64;
        CK_UNROLL
        for (int l = 0; l < lines; l++) {
            const char *at = v + t * row_bytes + 64 * l;
            const __m512i one = t < tokens ? _mm512_load_si512(at) : nothing;
            const __m512i two = t + 1 < tokens ? _mm512_load_si512(at + row_bytes) : nothing;
            ck_kv_ahead_lines(ahead, 2);
            _mm512_store_si512(target + 4 * l * TILE_BYTES, _mm512_unpacklo_epi16(one, two));
            _mm512_store_si512(target + (4 * l + 1) * TILE_BYTES, _mm512_unpackhi_epi16(one, two));
        }
    }
}

// C 0 1 for the first line, 2 3 for the second; p 4 5; B 6 7.
CK_INLINE void multiply_block(const char *unit, const char *p, char *c, int steps, int lines) {
    ck_tile_load(4, p, 64);
    if (steps > 1) ck_tile_load(5, p + TILE_BYTES, 64);
#define TIMES(tile)                                                                                                              \
    do {                                                                                                                         \
        const char *b = unit + (4 * ((tile) / 2) + (tile) % 2) * TILE_BYTES;                                                     \
        ck_tile_load(tile, c + (tile) * TILE_BYTES, 64);                                                                         \
        ck_tile_load(6, b, 64);                                                                                                  \
        ck_tile_dot_bf16(tile, 4, 6);                                                                                            \
        if (steps > 1) {                                                                                                         \
            ck_tile_load(7, b + 2 * TILE_BYTES, 64);                                                                             \
            ck_tile_dot_bf16(tile, 5, 7);                                                                                        \
        }                                                                                                                        \
        ck_tile_store(tile, c + (tile) * TILE_BYTES, 64);                                                                        \
    } while (0)
    TIMES(0);
    TIMES(1);
    if (lines > 1) {
        TIMES(2);
        TIMES(3);
    }
#undef TIMES
}

// Unit `index`: the parts' units one after the other.
typedef struct {
    size_t part, line;
    int lines, steps;
} unit_place;

CK_INLINE unit_place place_of(const work *w, size_t index) {
    const size_t units = (w->lines + UNIT_LINES - 1) / UNIT_LINES, part = index / units, line = index % units * UNIT_LINES;
    return (unit_place){part, line, w->lines - line > 1 ? 2 : 1, ck_kv_part_tokens(w->values, part) > STEP ? 2 : 1};
}

static void unpack_unit(const work *w, size_t index, ck_kv_ahead *ahead) {
    const unit_place place = place_of(w, index);
    const char *v = (const char *)w->values->parts[place.part] + place.line * 64;
    char *unit = w->units + index % 2 * UNIT_BYTES;
    const size_t tokens = ck_kv_part_tokens(w->values, place.part);
    if (place.lines > 1) unpack(v, w->lines * 64, tokens, unit, ahead, 2);
    else unpack(v, w->lines * 64, tokens, unit, ahead, 1);
    ck_tile_fence();
}

static void multiply_unit(const work *w, size_t index) {
    const unit_place place = place_of(w, index);
    const char *unit = w->units + index % 2 * UNIT_BYTES;
    for (size_t block = 0; block < blocks_of(w->rows); block++) {
        const char *p = w->p + (block * STEPS + place.part * (CK_KV_TOKENS / STEP)) * TILE_BYTES;
        char *c = w->c + (block * w->lines + place.line) * 2 * TILE_BYTES;
        if (place.lines > 1 && place.steps > 1) multiply_block(unit, p, c, 2, 2);
        else if (place.lines > 1) multiply_block(unit, p, c, 1, 2);
        else if (place.steps > 1) multiply_block(unit, p, c, 2, 1);
        else multiply_block(unit, p, c, 1, 1);
    }
    ck_tile_fence();
}

static void finish(const work *w, float *y, size_t y_stride) {
    for (size_t m = 0; m < w->rows; m++)
        for (size_t line = 0; line < w->lines; line++) {
            const char *c = w->c + (m / TILE * w->lines + line) * 2 * TILE_BYTES + m % TILE * 64;
            const size_t left = w->values->dim - 32 * line;
            ck_store_unpacked_avx512(y + m * y_stride + 32 * line, left < 32 ? left : 32, _mm512_load_ps(c),
                                     _mm512_load_ps(c + TILE_BYTES));
        }
}

void ck_attention_values_bf16_amxbf16(const ck_kv_span *values, size_t rows, const float *p, size_t p_stride, float *y,
                                      size_t y_stride, void *scratch) {
    const size_t lines = lines_of(values->dim), blocks = blocks_of(rows);
    const size_t part_bytes = CK_KV_TOKENS * lines * 64;
    const size_t units = ck_kv_parts(values->tokens) * ((lines + UNIT_LINES - 1) / UNIT_LINES);
    char *room = scratch;
    const work w = {values, rows, lines, room, room + 2 * UNIT_BYTES, room + 2 * UNIT_BYTES + blocks * STEPS * TILE_BYTES};
    round_p(&w, p, p_stride);
    memset(w.c, 0, blocks * lines * 2 * TILE_BYTES);
    configure(rows < TILE ? rows : TILE);
    ck_kv_ahead ahead = ck_kv_ahead_begin(values, part_bytes, part_bytes);
    unpack_unit(&w, 0, &ahead);
    for (size_t unit = 0; unit < units; unit++) {
        if (unit + 1 < units) unpack_unit(&w, unit + 1, &ahead);
        multiply_unit(&w, unit);
    }
    finish(&w, y, y_stride);
    ck_tile_release();
}

CK_ISA_END
#endif
