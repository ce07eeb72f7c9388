// Sums of RaZeR values, AMX BF16. The values without their scales are bf16 exactly; p takes the scales in:
//
//   A  up to 16 rows of p x 32 tokens, times what 1 is worth in the group, rounded to bf16
//   B  32 tokens x 16 channels of a group in pairs of tokens, looked up
//   C  rows x 16 channels
//
// A unit is up to four groups of a part, which are one stretch of memory. While the tile unit works on one, the next is looked
// up; both kinds of work alternate in small pieces. With up to 16 rows the C of four groups stay in tiles 0 to 3 for all parts;
// otherwise they wait in scratch.
#include "attention/razer_rows.h"
#include "support/isa.h"

#if CK_X86

enum {
    TILE = 16,
    TILE_BYTES = 1024,
    GROUPS = 4,  // of a unit
    STEPS = CK_KV_TOKENS / CK_RAZER_STEP,
    UNIT_BYTES = GROUPS * STEPS * TILE_BYTES,
};

static size_t blocks_of(size_t rows) { return (rows + TILE - 1) / TILE; }

// Two units: B, and for each 16 rows A and C.
size_t ck_attention_values_razer_amxbf16_scratch(size_t rows, size_t dim) {
    (void)dim;
    return 2 * UNIT_BYTES + blocks_of(rows) * (2 * UNIT_BYTES + GROUPS * TILE_BYTES);
}

CK_ISA_BEGIN(amxbf16)
#include "support/tile.h"
#include "attention/kv_ahead.h"
#include "attention/razer_avx512.h"
#include "attention/razer_weights_avx512.h"

typedef struct {
    const ck_kv_span *values;
    size_t rows;
    const float *p;
    size_t p_stride, parts;
    char *b, *a, *c;
} work;

// A unit: some groups of a part; the same groups of all parts come one after the other, then the next groups.
typedef struct {
    size_t part, group, groups;
    size_t buffer;  // 0 and 1 in turn
} unit;

CK_INLINE unit unit_at(const work *w, size_t part, size_t group, size_t buffer) {
    const size_t left = ck_razer_groups(w->values->dim) - group;
    return (unit){part, group, left < GROUPS ? left : GROUPS, buffer};
}
// Its group is beyond the last one after the last unit.
CK_INLINE unit next_unit(const work *w, const unit *u) {
    if (u->part + 1 < w->parts) return (unit){u->part + 1, u->group, u->groups, !u->buffer};
    return unit_at(w, 0, u->group + GROUPS, !u->buffer);
}
CK_INLINE char *b_of(const work *w, const unit *u) { return w->b + u->buffer * UNIT_BYTES; }
CK_INLINE char *a_of(const work *w, const unit *u, size_t block) {
    return w->a + (u->buffer * blocks_of(w->rows) + block) * UNIT_BYTES;
}
CK_INLINE char *c_of(const work *w, size_t block) { return w->c + block * GROUPS * TILE_BYTES; }

static void configure(size_t rows) {
    ck_tile_config config = {.palette = 1};
    for (int c = 0; c < 4; c++) ck_tile_shape(&config, c, rows, 64);
    ck_tile_shape(&config, 4, rows, 64);
    ck_tile_shape(&config, 5, TILE, 64);
    ck_tile_shape(&config, 6, rows, 64);
    ck_tile_shape(&config, 7, TILE, 64);
    ck_tile_configure(&config);
}

// B of a group and 32 tokens: a row for each two tokens.
CK_INLINE void look_up(const uint8_t *lines, const uint8_t *scales, __m512i table, char *b) {
    uint16_t special[CK_RAZER_STEP];
    ck_razer_special_avx512(scales, special);
    CK_UNROLL
    for (size_t line = 0; line < 4; line++) {
        const __m512i codes = _mm512_load_si512(lines + line * 64);
        CK_UNROLL
        for (unsigned i = 0; i < 4; i++) {
            const size_t pair = 4 * line + i;
            _mm512_store_si512(b + pair * 64, ck_razer_values_avx512(table, _mm512_srli_epi16(codes, 4 * i), special + 2 * pair));
        }
    }
}

// Group `g` of a unit: A and B of both steps.
CK_INLINE void prepare(const work *w, const unit *u, size_t g, ck_kv_ahead *ahead) {
    if (g >= u->groups) return;
    const size_t group = u->group + g;
    const void *part = w->values->parts[u->part];
    const __m512i table = ck_razer_value_table_avx512();
    ck_kv_ahead_lines(ahead, CK_RAZER_VALUE_LINES);
    for (size_t step = 0; step < STEPS; step++) {
        const size_t tile = (g * STEPS + step) * TILE_BYTES, token = u->part * CK_KV_TOKENS + step * CK_RAZER_STEP;
        if (token >= w->values->tokens) break;
        look_up(ck_razer_value_group(part, group) + step * 4 * 64, ck_razer_value_scales(part, group) + step * CK_RAZER_STEP,
                table, b_of(w, u) + tile);
        const ck_razer_units units = ck_razer_units_avx512(w->values, group, token / CK_RAZER_STEP);
        for (size_t m = 0; m < w->rows; m++)
            _mm512_store_si512(a_of(w, u, m / TILE) + tile + m % TILE * 64,
                               ck_razer_weights_avx512(&units, w->p + m * w->p_stride + token));
    }
    ck_tile_fence();
}

// The groups of a unit with a block of rows. C is loaded and stored where the tiles do not keep it. With `ahead` the next unit is
// prepared meanwhile.
CK_INLINE void multiply_block(const work *w, const unit *u, size_t block, int load, int store, const unit *next,
                              ck_kv_ahead *ahead) {
    const int steps = ck_kv_part_tokens(w->values, u->part) > CK_RAZER_STEP ? 2 : 1;
    const char *a = a_of(w, u, block), *b = b_of(w, u);
    char *c = c_of(w, block);
#define TIMES(tile)                                                                                                              \
    do {                                                                                                                         \
        if ((tile) < u->groups) {                                                                                                \
            if (load) ck_tile_load(tile, c + (tile) * TILE_BYTES, 64);                                                           \
            ck_tile_load(4, a + (tile) * STEPS * TILE_BYTES, 64);                                                                \
            ck_tile_load(5, b + (tile) * STEPS * TILE_BYTES, 64);                                                                \
            ck_tile_dot_bf16(tile, 4, 5);                                                                                        \
            if (steps > 1) {                                                                                                     \
                ck_tile_load(6, a + ((tile) * STEPS + 1) * TILE_BYTES, 64);                                                      \
                ck_tile_load(7, b + ((tile) * STEPS + 1) * TILE_BYTES, 64);                                                      \
                ck_tile_dot_bf16(tile, 6, 7);                                                                                    \
            }                                                                                                                    \
            if (store) ck_tile_store(tile, c + (tile) * TILE_BYTES, 64);                                                         \
        }                                                                                                                        \
        if (ahead) prepare(w, next, tile, ahead);                                                                                \
    } while (0)
    TIMES(0);
    TIMES(1);
    TIMES(2);
    TIMES(3);
#undef TIMES
}

// C of a unit's groups into y.
static void finish(const work *w, const unit *u, float *y, size_t y_stride) {
    for (size_t m = 0; m < w->rows; m++)
        for (size_t g = 0; g < u->groups; g++) {
            const char *c = c_of(w, m / TILE) + g * TILE_BYTES + m % TILE * 64;
            const size_t channel = (u->group + g) * CK_RAZER_GROUP, left = w->values->dim - channel;
            const __mmask16 mask = (__mmask16)(left < CK_RAZER_GROUP ? (1u << left) - 1 : 0xFFFF);
            _mm512_mask_storeu_ps(y + m * y_stride + channel, mask, _mm512_load_ps(c));
        }
}

void ck_attention_values_razer_amxbf16(const ck_kv_span *values, size_t rows, const float *p, size_t p_stride, float *y,
                                       size_t y_stride, void *scratch) {
    const size_t blocks = blocks_of(rows), groups = ck_razer_groups(values->dim);
    char *a = (char *)scratch + 2 * UNIT_BYTES;
    const work w = {values, rows, p, p_stride, ck_kv_parts(values->tokens), scratch, a, a + 2 * blocks * UNIT_BYTES};
    // Tiles have rows of A beyond the last one of p where there are several blocks.
    if (blocks > 1) memset(a, 0, 2 * blocks * UNIT_BYTES);
    configure(rows < TILE ? rows : TILE);
    ck_kv_ahead ahead = ck_kv_ahead_begin(values, ck_razer_part_bytes(CK_KV_RAZER_VALUES, values->dim));
    unit next = unit_at(&w, 0, 0, 0);
    for (size_t g = 0; g < GROUPS; g++) prepare(&w, &next, g, &ahead);
    while (next.group < groups) {
        const unit u = next;
        next = next_unit(&w, &u);
        const int begins = u.part == 0, ends = u.part + 1 == w.parts;
        if (begins) memset(w.c, 0, blocks * GROUPS * TILE_BYTES);
        ck_tile_fence();
        for (size_t block = 0; block < blocks; block++)
            multiply_block(&w, &u, block, begins || blocks > 1, ends || blocks > 1, &next,
                           block == 0 && next.group < groups ? &ahead : NULL);
        ck_tile_fence();
        if (ends) finish(&w, &u, y, y_stride);
    }
    ck_tile_release();
}

CK_ISA_END
#endif
