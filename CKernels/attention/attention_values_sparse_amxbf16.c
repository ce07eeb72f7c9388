// Sums of sparse values, AMX BF16:
//
//   A  up to 16 rows of p x 32 tokens, rounded to bf16 once a call
//   B  32 tokens x 16 channels, in pairs of tokens: what unpacking the expanded rows of two tokens gives, low and high
//   C  rows x 16 channels; between units it waits in scratch
//
// A unit is 32 tokens of up to four lines of channels, 8 tiles of B. While the tile unit works on one, the next is expanded; both
// kinds of work alternate in small pieces, each being far longer than what a core sees ahead. The order that unpacking leaves is
// mended once, at the end.
#include <string.h>
#include "attention/sparse_rows.h"
#include "support/isa.h"

#if CK_X86
#include "support/for_rows.h"

enum {
    TILE = 16,
    TILE_BYTES = 1024,
    STEP = 32,                          // tokens of a tile
    STEPS = CK_ATTENTION_CHUNK / STEP,  // tiles of p of 16 rows
    PIECE = 4,                          // tokens that are expanded at a time
    PIECES = STEP / PIECE,
    UNIT_LINES = 4,
    UNIT_BYTES = UNIT_LINES * 2 * TILE_BYTES,
};

static size_t blocks_of(size_t rows) { return (rows + TILE - 1) / TILE; }

// Two units; for each block of 16 rows p and C.
size_t ck_attention_values_sparse_amxbf16_scratch(size_t rows, size_t dim) {
    return 2 * UNIT_BYTES + blocks_of(rows) * (STEPS + 2 * ck_sparse_lines(dim)) * TILE_BYTES;
}

CK_ISA_BEGIN(amxbf16)
#include "support/bf16_avx512.h"
#include "support/expand_avx512.h"
#include "support/tile.h"
#include "attention/kv_ahead.h"
#include "attention/lanes_avx512.h"
#include "attention/weights_amx.h"

typedef struct {
    const ck_kv_span *values;
    ck_kv_type type;
    size_t rows, lines;
    size_t lines_ahead;  // of a piece, about
    char *units;         // two
    char *p;             // block by block, STEPS tiles each
    char *c;             // block by block, for each line its low and its high tile
} work;

static void configure(size_t rows) {
    ck_tile_config config = {.palette = 1};
    for (int c = 0; c < 5; c++) ck_tile_shape(&config, c, rows, 64);
    ck_tile_shape(&config, 6, TILE, 64);
    ck_tile_shape(&config, 7, TILE, 64);
    ck_tile_configure(&config);
}

// 32 tokens; four lines of channels after four lines.
typedef struct {
    size_t token, line;
    int lines;
    char *b;
} unit;

CK_INLINE unit unit_at(const work *w, size_t index) {
    const size_t units = (w->lines + UNIT_LINES - 1) / UNIT_LINES, line = index % units * UNIT_LINES, left = w->lines - line;
    return (unit){index / units * STEP, line, (int)(left < UNIT_LINES ? left : UNIT_LINES), w->units + index % 2 * UNIT_BYTES};
}

// A token's lines of a unit, one after the other. Those behind the last token count as 0.
typedef struct {
    const uint16_t *value;
    const uint32_t *masks;
    uint32_t keeps;
} cursor;

CK_INLINE cursor cursor_at(const work *w, const unit *u, size_t token) {
    const void *part = w->values->parts[token / CK_KV_TOKENS];
    const size_t slot = token % CK_KV_TOKENS, dim = w->values->dim;
    cursor at = {ck_sparse_values(w->type, dim, part, slot), ck_sparse_masks(w->type, dim, part, slot),
                 token < w->values->tokens ? UINT32_MAX : 0};
    for (size_t i = 0; i < u->line; i++) at.value += __builtin_popcount(*at.masks++);
    return at;
}

CK_INLINE __m512i next_line(cursor *at) { return ck_expand_bf16(*at->masks++ & at->keeps, &at->value); }

// For each line of PIECE tokens some rows of its low and of its high tile.
CK_INLINE void expand_lines(const work *w, const unit *u, size_t piece, int lines) {
    char *target = u->b + piece * PIECE / 2 * 64;
    CK_UNROLL
    for (size_t t = 0; t < PIECE; t += 2, target += 64) {
        const size_t token = u->token + piece * PIECE + t;
        cursor one = cursor_at(w, u, token), two = cursor_at(w, u, token + 1);
        CK_UNROLL
        for (int l = 0; l < lines; l++) {
            const __m512i a = next_line(&one), b = next_line(&two);
            _mm512_store_si512(target + 2 * l * TILE_BYTES, _mm512_unpacklo_epi16(a, b));
            _mm512_store_si512(target + (2 * l + 1) * TILE_BYTES, _mm512_unpackhi_epi16(a, b));
        }
    }
}

static void expand(const work *w, const unit *u, size_t piece, ck_kv_ahead *ahead) {
    ck_kv_ahead_lines(ahead, w->lines_ahead);
#define CALL(count) expand_lines(w, u, piece, count)
    CK_FOR_ROWS_4(u->lines, CALL)
#undef CALL
}

// The tiles of a unit with a block of rows; after each a piece of the next unit, the first being `piece`. C takes turns in tiles
// 0 to 3; p is 4, B 6 and 7. Returns the piece that is next.
static size_t multiply_block(const work *w, const unit *u, size_t block, const unit *next, size_t piece, ck_kv_ahead *ahead) {
    char *c = w->c + (block * w->lines + u->line) * 2 * TILE_BYTES;
    ck_tile_load(4, w->p + (block * STEPS + u->token / STEP) * TILE_BYTES, 64);
#define TIMES(tile, b_tile, at)                                                                                                  \
    do {                                                                                                                         \
        ck_tile_load(tile, c + (at) * TILE_BYTES, 64);                                                                           \
        ck_tile_load(b_tile, u->b + (at) * TILE_BYTES, 64);                                                                      \
        ck_tile_dot_bf16(tile, 4, b_tile);                                                                                       \
        ck_tile_store(tile, c + (at) * TILE_BYTES, 64);                                                                          \
        if (piece < PIECES) expand(w, next, piece++, ahead);                                                                     \
    } while (0)
#define LINE(line)                                                                                                               \
    do {                                                                                                                         \
        TIMES((line) % 2 * 2, 6, 2 * (line));                                                                                    \
        TIMES((line) % 2 * 2 + 1, 7, 2 * (line) + 1);                                                                            \
    } while (0)
    LINE(0);
    if (u->lines > 1) LINE(1);
    if (u->lines > 2) LINE(2);
    if (u->lines > 3) LINE(3);
#undef LINE
#undef TIMES
    return piece;
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

CK_INLINE void run(ck_kv_type type, const ck_kv_span *values, size_t rows, const float *p, size_t p_stride, float *y,
                   size_t y_stride, char *scratch) {
    const size_t lines = ck_sparse_lines(values->dim), blocks = blocks_of(rows);
    const size_t units_of_step = (lines + UNIT_LINES - 1) / UNIT_LINES,
                 units = (values->tokens + STEP - 1) / STEP * units_of_step;
    const size_t part_bytes = ck_sparse_part_bytes(type, values->dim), pieces = CK_KV_TOKENS / PIECE * units_of_step;
    const work w = {.values = values,
                    .type = type,
                    .rows = rows,
                    .lines = lines,
                    .lines_ahead = (part_bytes / 64 + pieces - 1) / pieces,
                    .units = scratch,
                    .p = scratch + 2 * UNIT_BYTES,
                    .c = scratch + 2 * UNIT_BYTES + blocks * STEPS * TILE_BYTES};
    ck_round_weights_amx(p, p_stride, rows, ck_kv_parts(values->tokens) * CK_KV_TOKENS, w.p);
    memset(w.c, 0, blocks * lines * 2 * TILE_BYTES);
    configure(rows < TILE ? rows : TILE);
    ck_kv_ahead ahead = ck_kv_ahead_begin(values, part_bytes);
    unit next = unit_at(&w, 0);
    for (size_t piece = 0; piece < PIECES; piece++) expand(&w, &next, piece, &ahead);
    for (size_t index = 0; index < units; index++) {
        const unit u = next;
        size_t piece = PIECES;
        if (index + 1 < units) {
            next = unit_at(&w, index + 1);
            piece = 0;
        }
        ck_tile_fence();
        for (size_t block = 0; block < blocks; block++) piece = multiply_block(&w, &u, block, &next, piece, &ahead);
        for (; piece < PIECES; piece++) expand(&w, &next, piece, &ahead);
    }
    ck_tile_fence();
    finish(&w, y, y_stride);
    ck_tile_release();
}

void ck_attention_values_sparse50_amxbf16(const ck_kv_span *values, size_t rows, const float *p, size_t p_stride, float *y,
                                          size_t y_stride, void *scratch) {
    run(CK_KV_SPARSE50, values, rows, p, p_stride, y, y_stride, scratch);
}

void ck_attention_values_sparse70_amxbf16(const ck_kv_span *values, size_t rows, const float *p, size_t p_stride, float *y,
                                          size_t y_stride, void *scratch) {
    run(CK_KV_SPARSE70, values, rows, p, p_stride, y, y_stride, scratch);
}

CK_ISA_END
#endif
