// The AMX loops, once for every weight format and both types. Include inside an ISA region after defining the type amx_weights
// and the macro amx_dot(c, a, b), the tile multiply; then define the four functions declared below.
//
// A step is 64 bytes of k: 32 bf16 or 64 int8. Operands of one tile multiply:
//
//   A  16 rows of x    x 64 bytes, read where x lies
//   B  16 rows of W, interleaved in groups of 4 bytes: a packed tile as it is
//   C  16 rows of x    x 16 rows of W
//
// An output is one chain over k in order, whatever m is and however the loops are blocked.
#pragma once
#include "support/tile.h"

enum {
    AMX_DECODE_ROWS = 64,  // up to here four tiles of C hold all rows of x, and a weight tile is prepared once for all of them
    AMX_BLOCK_ROWS = 512,  // beyond, a block of weights is prepared once for this many rows of x:
    AMX_BLOCK_PANELS = 8,  // 8 panels x 16 steps = 128 KB of weights in the L2 cache,
    AMX_BLOCK_STEPS = 16,  // against 32 rows x 16 steps = 32 KB of x
    AMX_TILE_BYTES = 1024,
};

// A block of weights ready for the tile unit: `steps` steps of each of `panels` panels.
typedef struct {
    size_t first_panel, panels, first_step, steps;
} amx_weight_block;

// What the loops touch next, asked for a few lines at every step so that it has arrived in the L2 cache when they get there:
// `left` rows of `bytes` contiguous bytes.
typedef struct {
    const char *at, *row;
    size_t stride, bytes, left;
} amx_ahead;

CK_INLINE void amx_ahead_start(amx_ahead *ahead, const char *base, size_t stride, size_t rows, size_t bytes) {
    ahead->at = ahead->row = base;
    ahead->stride = stride;
    ahead->bytes = bytes;
    ahead->left = rows;
}

CK_INLINE void amx_ahead_lines(amx_ahead *ahead, int lines) {
    for (; lines > 0 && ahead->left > 0; lines--) {
        _mm_prefetch(ahead->at, _MM_HINT_T1);
        ahead->at += 64;
        if ((size_t)(ahead->at - ahead->row) < ahead->bytes) continue;
        ahead->at = ahead->row += ahead->stride;
        ahead->left--;
    }
}

// Start at the first step of `panels` neighbouring panels (1, 2 or 4); then give their tiles, 1 KB each: step by step, in a step
// slot by slot, slot 0 being the first panel.
static void amx_open(amx_weights *weights, size_t panel, int panels);
static const char *amx_next(amx_weights *weights, int slot, int panels);
// Prepare a block in `room`: AMX_BLOCK_STEPS tiles for each panel, and say what the next block of the same panels will read.
// Blocks of the same panels come in order of their steps.
static void amx_block(amx_weights *weights, const amx_weight_block *block, char *room, amx_ahead *ahead);
// The epilogue: 16 outputs of row m of x, from 64 bytes of C.
static void amx_finish(const ck_gemm_call *call, const amx_weights *weights, size_t m, size_t panel, const char *c);

CK_INLINE size_t amx_min(size_t a, size_t b) { return a < b ? a : b; }

// Scratch of the prefill path: the prepared block, then C for every panel and row of x in it.
CK_INLINE size_t amx_scratch_bytes(const ck_gemm_call *call) {
    if (call->m <= AMX_DECODE_ROWS) return 0;
    return AMX_BLOCK_PANELS * (AMX_BLOCK_STEPS * AMX_TILE_BYTES + amx_min(call->m, AMX_BLOCK_ROWS) * 64);
}

// Decoding. Blocks of 16 rows of x by panels, as many as four tiles of C allow, so that x is read from the cache as rarely as
// possible:
//
//   m <= 16    1 block  x 4 panels      C slot
//   m <= 32    2 blocks x 2 panels      C 2 * slot + block
//   m <= 64    4 blocks x 1 panel       C block
//
// Tile 4 reads the full blocks of x, tile 5 the last block; 6 and 7 take turns as B.
static void amx_configure_decode(size_t m) {
    ck_tile_config config = {.palette = 1};
    const size_t blocks = (m + 15) / 16, tail = m - (blocks - 1) * 16, held = blocks == 3 ? 4 : blocks;
    for (int c = 0; c < 4; c++) ck_tile_shape(&config, c, (size_t)c % held + 1 == blocks ? tail : 16, 64);
    ck_tile_shape(&config, 4, 16, 64);
    ck_tile_shape(&config, 5, tail, 64);
    ck_tile_shape(&config, 6, 16, 64);
    ck_tile_shape(&config, 7, 16, 64);
    ck_tile_configure(&config);
}

CK_INLINE void amx_zero_c(int tiles) {
    ck_tile_zero(0);
    if (tiles > 1) ck_tile_zero(1);
    if (tiles > 2) ck_tile_zero(2);
    if (tiles > 3) ck_tile_zero(3);
}

CK_INLINE void amx_store_c(char (*c)[1024], int tiles) {
    ck_tile_store(0, c[0], 64);
    if (tiles > 1) ck_tile_store(1, c[1], 64);
    if (tiles > 2) ck_tile_store(2, c[2], 64);
    if (tiles > 3) ck_tile_store(3, c[3], 64);
    ck_tile_fence();
}

// One step of 1 block x 1, 2 or 4 panels.
CK_INLINE void amx_step_1(amx_weights *weights, const char *x, size_t stride, int panels) {
    ck_tile_load(5, x, stride);
    ck_tile_load(6, amx_next(weights, 0, panels), 64);
    amx_dot(0, 5, 6);
    if (panels > 1) {
        ck_tile_load(7, amx_next(weights, 1, panels), 64);
        amx_dot(1, 5, 7);
    }
    if (panels > 2) {
        ck_tile_load(6, amx_next(weights, 2, panels), 64);
        amx_dot(2, 5, 6);
    }
    if (panels > 2) {
        ck_tile_load(7, amx_next(weights, 3, panels), 64);
        amx_dot(3, 5, 7);
    }
}

// One step of 2 blocks x 1 or 2 panels.
CK_INLINE void amx_step_2(amx_weights *weights, const char *x, size_t stride, int panels) {
    ck_tile_load(4, x, stride);
    ck_tile_load(6, amx_next(weights, 0, panels), 64);
    amx_dot(0, 4, 6);
    ck_tile_load(5, x + 16 * stride, stride);
    amx_dot(1, 5, 6);
    if (panels == 1) return;
    ck_tile_load(7, amx_next(weights, 1, panels), 64);
    amx_dot(2, 4, 7);
    amx_dot(3, 5, 7);
}

// One step of 3 or 4 blocks x 1 panel.
CK_INLINE void amx_step_4(amx_weights *weights, const char *x, size_t stride, int blocks) {
    ck_tile_load(6, amx_next(weights, 0, 1), 64);
    ck_tile_load(4, x, stride);
    amx_dot(0, 4, 6);
    ck_tile_load(4, x + 16 * stride, stride);
    amx_dot(1, 4, 6);
    if (blocks == 3) {
        ck_tile_load(5, x + 32 * stride, stride);
        amx_dot(2, 5, 6);
        return;
    }
    ck_tile_load(4, x + 32 * stride, stride);
    amx_dot(2, 4, 6);
    ck_tile_load(5, x + 48 * stride, stride);
    amx_dot(3, 5, 6);
}

CK_INLINE void amx_step(amx_weights *weights, const char *x, size_t stride, int panels, int blocks) {
    if (blocks == 1) amx_step_1(weights, x, stride, panels);
    else if (blocks == 2) amx_step_2(weights, x, stride, panels);
    else amx_step_4(weights, x, stride, blocks);
}

// `panels` panels from `panel` on, all rows of x.
CK_INLINE void amx_decode_panels(const ck_gemm_call *call, amx_weights *weights, size_t panel, int panels, int blocks,
                                 size_t steps) {
    const char *x = (const char *)call->x;
    amx_open(weights, panel, panels);
    amx_zero_c(blocks * panels);
    for (size_t step = 0; step < steps; step++, x += 64) amx_step(weights, x, call->x_stride, panels, blocks);
    _Alignas(64) char c[4][1024];
    amx_store_c(c, blocks * panels);
    for (int slot = 0; slot < panels; slot++)
        for (size_t m = 0; m < call->m; m++)
            amx_finish(call, weights, m, panel + (size_t)slot, c[slot * blocks + (int)(m / 16)] + m % 16 * 64);
}

static inline void amx_decode(const ck_gemm_call *call, amx_weights *weights, size_t panel_begin, size_t panel_end,
                              size_t steps) {
    amx_configure_decode(call->m);
    const size_t blocks = (call->m + 15) / 16;
    size_t panel = panel_begin;
    if (blocks == 1)
        for (; panel + 4 <= panel_end; panel += 4) amx_decode_panels(call, weights, panel, 4, 1, steps);
    if (blocks == 2)
        for (; panel + 2 <= panel_end; panel += 2) amx_decode_panels(call, weights, panel, 2, 2, steps);
    for (; panel < panel_end; panel++) switch (blocks) {
        case 1: amx_decode_panels(call, weights, panel, 1, 1, steps); break;
        case 2: amx_decode_panels(call, weights, panel, 1, 2, steps); break;
        case 3: amx_decode_panels(call, weights, panel, 1, 3, steps); break;
        default: amx_decode_panels(call, weights, panel, 1, 4, steps); break;
        }
}

// Prefill: C 0 1 / 2 3 for rows of x (4, 5) by panels (6, 7).
static void amx_configure_prefill(size_t rows) {
    ck_tile_config config = {.palette = 1};
    const size_t upper = amx_min(rows, 16), lower = rows > 16 ? rows - 16 : 16;
    ck_tile_shape(&config, 0, upper, 64);
    ck_tile_shape(&config, 1, upper, 64);
    ck_tile_shape(&config, 2, lower, 64);
    ck_tile_shape(&config, 3, lower, 64);
    ck_tile_shape(&config, 4, upper, 64);
    ck_tile_shape(&config, 5, lower, 64);
    ck_tile_shape(&config, 6, 16, 64);
    ck_tile_shape(&config, 7, 16, 64);
    ck_tile_configure(&config);
}

CK_INLINE void amx_prefill_zero(int lower, int second) {
    ck_tile_zero(0);
    if (second) ck_tile_zero(1);
    if (lower) ck_tile_zero(2);
    if (lower && second) ck_tile_zero(3);
}

CK_INLINE void amx_prefill_step(const char *x, size_t stride, const char *w0, const char *w1, int lower, int second,
                                amx_ahead *ahead_x, amx_ahead *ahead_w) {
    ck_tile_load(4, x, stride);
    ck_tile_load(6, w0, 64);
    amx_dot(0, 4, 6);
    amx_ahead_lines(ahead_x, 8);
    amx_ahead_lines(ahead_w, 2);
    if (second) {
        ck_tile_load(7, w1, 64);
        amx_dot(1, 4, 7);
    }
    if (lower) {
        ck_tile_load(5, x + 16 * stride, stride);
        amx_dot(2, 5, 6);
    }
    if (lower && second) amx_dot(3, 5, 7);
}

// c0 and c1 point at the panels' rows of C, 64 bytes each.
CK_INLINE void amx_prefill_store(char *c0, char *c1, int lower, int second) {
    ck_tile_store(0, c0, 64);
    if (second) ck_tile_store(1, c1, 64);
    if (lower) ck_tile_store(2, c0 + 1024, 64);
    if (lower && second) ck_tile_store(3, c1 + 1024, 64);
}

// One 2 x 2 block of C over the steps of a weight block.
CK_INLINE void amx_prefill_tile(const char *x, size_t stride, const char *w0, const char *w1, char *c0, char *c1, size_t steps,
                                int resume, int lower, int second, amx_ahead *ahead_x, amx_ahead *ahead_w) {
    if (resume) {
        ck_tile_load(0, c0, 64);
        if (second) ck_tile_load(1, c1, 64);
        if (lower) ck_tile_load(2, c0 + 1024, 64);
        if (lower && second) ck_tile_load(3, c1 + 1024, 64);
    } else {
        amx_prefill_zero(lower, second);
    }
    for (size_t step = 0; step < steps; step++, x += 64, w0 += AMX_TILE_BYTES, w1 += AMX_TILE_BYTES)
        amx_prefill_step(x, stride, w0, w1, lower, second, ahead_x, ahead_w);
    amx_prefill_store(c0, c1, lower, second);
}

// Rows m ... m+31 of x against a whole weight block. c is C of the block: for each panel c_stride bytes, 64 for each row of x.
static inline void amx_prefill_rows(const ck_gemm_call *call, const amx_weight_block *block, const char *room, size_t m,
                                    size_t rows, char *c, size_t c_stride, amx_ahead *ahead_x, amx_ahead *ahead_w) {
    const char *x = (const char *)call->x + m * call->x_stride + block->first_step * 64;
    const int resume = block->first_step > 0, lower = rows > 16;
    for (size_t p = 0; p < block->panels; p += 2) {
        const char *w0 = room + p * AMX_BLOCK_STEPS * AMX_TILE_BYTES, *w1 = w0 + AMX_BLOCK_STEPS * AMX_TILE_BYTES;
        char *c0 = c + p * c_stride, *c1 = c0 + c_stride;
        const int second = p + 1 < block->panels;
        if (lower && second) amx_prefill_tile(x, call->x_stride, w0, w1, c0, c1, block->steps, resume, 1, 1, ahead_x, ahead_w);
        else if (lower) amx_prefill_tile(x, call->x_stride, w0, w0, c0, c0, block->steps, resume, 1, 0, ahead_x, ahead_w);
        else if (second) amx_prefill_tile(x, call->x_stride, w0, w1, c0, c1, block->steps, resume, 0, 1, ahead_x, ahead_w);
        else amx_prefill_tile(x, call->x_stride, w0, w0, c0, c0, block->steps, resume, 0, 0, ahead_x, ahead_w);
    }
}

static inline void amx_prefill(const ck_gemm_call *call, amx_weights *weights, size_t panel_begin, size_t panel_end, size_t steps,
                               void *scratch) {
    const size_t c_stride = amx_min(call->m, AMX_BLOCK_ROWS) * 64;
    char *const room = scratch, *const c = room + AMX_BLOCK_PANELS * AMX_BLOCK_STEPS * AMX_TILE_BYTES;
    for (size_t m0 = 0; m0 < call->m; m0 += AMX_BLOCK_ROWS) {
        const size_t m1 = amx_min(m0 + AMX_BLOCK_ROWS, call->m);
        for (size_t panel = panel_begin; panel < panel_end; panel += AMX_BLOCK_PANELS) {
            amx_weight_block block = {.first_panel = panel, .panels = amx_min(AMX_BLOCK_PANELS, panel_end - panel)};
            amx_ahead ahead_w = {0};
            for (size_t step = 0; step < steps; step += AMX_BLOCK_STEPS) {
                block.first_step = step;
                block.steps = amx_min(AMX_BLOCK_STEPS, steps - step);
                amx_block(weights, &block, room, &ahead_w);
                ck_tile_fence();
                const char *const x = (const char *)call->x + block.first_step * 64;
                for (size_t m = m0; m < m1; m += 32) {
                    const size_t rows = amx_min(32, m1 - m);
                    const size_t next = m + rows < m1 ? m + rows : m0, next_step = m + rows < m1 ? 0 : block.steps;
                    amx_ahead ahead_x;
                    amx_ahead_start(&ahead_x, x + next_step * 64 + next * call->x_stride, call->x_stride, amx_min(32, m1 - next),
                                    block.steps * 64);
                    amx_configure_prefill(rows);
                    amx_prefill_rows(call, &block, room, m, rows, c + (m - m0) * 64, c_stride, &ahead_x, &ahead_w);
                }
            }
            ck_tile_fence();
            for (size_t p = 0; p < block.panels; p++)
                for (size_t m = m0; m < m1; m++) amx_finish(call, weights, m, panel + p, c + p * c_stride + (m - m0) * 64);
        }
    }
}

CK_INLINE void amx_run(const ck_gemm_call *call, amx_weights *weights, size_t panel_begin, size_t panel_end, size_t steps,
                       void *scratch) {
    if (call->m <= AMX_DECODE_ROWS) amx_decode(call, weights, panel_begin, panel_end, steps);
    else amx_prefill(call, weights, panel_begin, panel_end, steps, scratch);
    ck_tile_release();
}
