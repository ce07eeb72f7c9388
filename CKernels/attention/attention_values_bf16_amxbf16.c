// Sums of bf16 values, AMX BF16:
//
//   A  up to 16 rows of p x 32 tokens, rounded to bf16 once a call
//   B  32 tokens x 16 channels, in pairs of tokens: what unpacking the rows of two tokens gives, low and high
//   C  rows x 16 channels; between the parts of a span it waits in scratch
//
// A unit is 32 tokens of up to four lines of channels, 8 tiles of B: the rows of 128 channels are read as they lie in memory. The
// next unit is unpacked before one is multiplied, so that its stores have arrived when its tiles are loaded. The order that
// unpacking leaves is mended once, at the end.
#include "attention/kv_rows.h"
#include "support/isa.h"

#if CK_X86
#include "support/for_rows.h"

enum {
    TILE = 16,
    TILE_BYTES = 1024,
    STEP = 32,                          // tokens of a tile
    STEPS = CK_ATTENTION_CHUNK / STEP,  // tiles of p of 16 rows
    UNIT_LINES = 4,
    UNIT_BYTES = UNIT_LINES * 2 * TILE_BYTES,
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
#include "attention/weights_amx.h"

typedef struct {
    const ck_kv_span *values;
    size_t rows, lines;
    char *units;  // two
    char *p;      // block by block, STEPS tiles each
    char *c;      // block by block, for each line its low and its high tile
} work;

static void configure(size_t rows) {
    ck_tile_config config = {.palette = 1};
    for (int c = 0; c < 4; c++) ck_tile_shape(&config, c, rows, 64);
    ck_tile_shape(&config, 4, rows, 64);
    ck_tile_shape(&config, 5, rows, 64);
    ck_tile_shape(&config, 6, TILE, 64);
    ck_tile_shape(&config, 7, TILE, 64);
    ck_tile_configure(&config);
}

// Unpacks `lines` lines of 32 tokens, of which `tokens` are there: for each line its low and its high tile.
CK_INLINE void unpack(const char *v, size_t row_bytes, size_t tokens, char *unit, ck_kv_ahead *ahead, int lines) {
    const __m512i nothing = _mm512_setzero_si512();
    for (size_t t = 0; t < STEP; t += 2) {
        char *target = unit + t / 2 * 64;
        ck_kv_ahead_lines(ahead, 2 * (size_t)lines);
        CK_UNROLL
        for (int l = 0; l < lines; l++) {
            const char *at = v + t * row_bytes + 64 * l;
            const __m512i one = t < tokens ? _mm512_load_si512(at) : nothing;
            const __m512i two = t + 1 < tokens ? _mm512_load_si512(at + row_bytes) : nothing;
            _mm512_store_si512(target + 2 * l * TILE_BYTES, _mm512_unpacklo_epi16(one, two));
            _mm512_store_si512(target + (2 * l + 1) * TILE_BYTES, _mm512_unpackhi_epi16(one, two));
        }
    }
}

// C takes turns in tiles 0 to 3; p is 4, B 6 and 7.
CK_INLINE void multiply_block(const char *unit, const char *p, char *c, int lines) {
    ck_tile_load(4, p, 64);
#define TIMES(tile, b_tile, at)                                                                                                  \
    do {                                                                                                                         \
        ck_tile_load(tile, c + (at) * TILE_BYTES, 64);                                                                           \
        ck_tile_load(b_tile, unit + (at) * TILE_BYTES, 64);                                                                      \
        ck_tile_dot_bf16(tile, 4, b_tile);                                                                                       \
        ck_tile_store(tile, c + (at) * TILE_BYTES, 64);                                                                          \
    } while (0)
#define LINE(line)                                                                                                               \
    do {                                                                                                                         \
        TIMES((line) % 2 * 2, 6, 2 * (line));                                                                                    \
        TIMES((line) % 2 * 2 + 1, 7, 2 * (line) + 1);                                                                            \
    } while (0)
    LINE(0);
    if (lines > 1) LINE(1);
    if (lines > 2) LINE(2);
    if (lines > 3) LINE(3);
#undef LINE
#undef TIMES
}

// Unit `index`: 32 tokens after 32 tokens.
typedef struct {
    size_t token, line;
    int lines;
} unit_place;

CK_INLINE unit_place place_of(const work *w, size_t index) {
    const size_t units = (w->lines + UNIT_LINES - 1) / UNIT_LINES, line = index % units * UNIT_LINES, left = w->lines - line;
    return (unit_place){index / units * STEP, line, (int)(left < UNIT_LINES ? left : UNIT_LINES)};
}

static void unpack_unit(const work *w, size_t index, ck_kv_ahead *ahead) {
    const unit_place place = place_of(w, index);
    const char *part = w->values->parts[place.token / CK_KV_TOKENS];
    const char *v = part + (place.token % CK_KV_TOKENS * w->lines + place.line) * 64;
    char *unit = w->units + index % 2 * UNIT_BYTES;
#define CALL(count) unpack(v, w->lines * 64, w->values->tokens - place.token, unit, ahead, count)
    CK_FOR_ROWS_4(place.lines, CALL)
#undef CALL
    ck_tile_fence();
}

static void multiply_unit(const work *w, size_t index) {
    const unit_place place = place_of(w, index);
    const char *unit = w->units + index % 2 * UNIT_BYTES;
    for (size_t block = 0; block < blocks_of(w->rows); block++) {
        const char *p = w->p + (block * STEPS + place.token / STEP) * TILE_BYTES;
        char *c = w->c + (block * w->lines + place.line) * 2 * TILE_BYTES;
#define CALL(count) multiply_block(unit, p, c, count)
        CK_FOR_ROWS_4(place.lines, CALL)
#undef CALL
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
    const size_t units = (values->tokens + STEP - 1) / STEP * ((lines + UNIT_LINES - 1) / UNIT_LINES);
    char *room = scratch;
    const work w = {values, rows, lines, room, room + 2 * UNIT_BYTES, room + 2 * UNIT_BYTES + blocks * STEPS * TILE_BYTES};
    ck_round_weights_amx(p, p_stride, rows, ck_kv_parts(values->tokens) * CK_KV_TOKENS, w.p);
    memset(w.c, 0, blocks * lines * 2 * TILE_BYTES);
    configure(rows < TILE ? rows : TILE);
    ck_kv_ahead ahead = ck_kv_ahead_begin(values, part_bytes);
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
