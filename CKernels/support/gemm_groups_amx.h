// The AMX loops for weights with a scale for every group of inputs. Include after support/gemm_amx.h; define its four functions,
// the four declared below, and AMX_PLANES.
//
// C begins at zero with each group and is stored behind it; its rows are then scaled and added to the output's sums. That is
// done one group late, while the tile unit works on the next: a stored tile takes some hundred cycles to arrive.
//
// An output is one chain of fused multiply-adds over the groups in order, each group one chain of tile multiplies, whatever m is
// and however the loops are blocked.
#pragma once

// How many steps from `step` on share a group; at most AMX_GROUP_STEPS.
static size_t amx_group_steps(const amx_weights *weights, size_t step);
// The scales of the 16 rows of a panel in the group of `step`. `scales` is what amx_panel_scales says of the panel.
static const uint8_t *amx_panel_scales(const amx_weights *weights, size_t panel);
static __m512 amx_group_scale(const amx_weights *weights, const uint8_t *scales, size_t step);
// A row of C as fp32. With AMX_PLANES = 2 a row of x is two of the call's, and two rows of C, the first at `c`, are one of sums.
static __m512 amx_c_to_f32(const char *c);

enum { AMX_GROUP_STEPS = 4 };

// Scratch: as in gemm_amx.h, sums in place of C, and behind them the scales of the prepared block.
enum { AMX_BLOCK_SCALE_BYTES = AMX_BLOCK_PANELS * AMX_BLOCK_STEPS * 64 };

CK_INLINE size_t amx_groups_scratch_bytes(const ck_gemm_call *call) {
    return call->m <= AMX_DECODE_ROWS ? 0 : amx_scratch_bytes(call) + AMX_BLOCK_SCALE_BYTES;
}

CK_INLINE void amx_add_group(char *sums, const char *c, __m512 scale, size_t rows) {
    for (size_t at = 0; at < rows * 64; at += AMX_PLANES * 64)
        _mm512_store_ps(sums + at, _mm512_fmadd_ps(amx_c_to_f32(c + at), scale, _mm512_load_ps(sums + at)));
}

// Decoding: C and sums have a tile for each slot and block of x, slot by slot, as support/gemm_amx.h counts them.
CK_INLINE void amx_add_slots(const amx_weights *weights, char *sums, const char *c, const uint8_t *const *scales, size_t step,
                             size_t rows, int panels, int blocks) {
    for (int slot = 0, at = 0; slot < panels; slot++, at += blocks * 1024)
        amx_add_group(sums + at, c + at, amx_group_scale(weights, scales[slot], step), rows);
}

CK_INLINE void amx_decode_groups_panels(const ck_gemm_call *call, amx_weights *weights, size_t panel, int panels, int blocks,
                                        size_t steps) {
    _Alignas(64) char c[2][4][1024], sums[4 * 1024];
    const uint8_t *scales[4];
    for (int slot = 0; slot < panels; slot++) {
        scales[slot] = amx_panel_scales(weights, panel + (size_t)slot);
        memset(sums + slot * blocks * 1024, 0, call->m * 64);
    }
    amx_open(weights, panel, panels);
    const char *x = (const char *)call->x;
    size_t step = 0, stored = 0;
    int turn = 0;
    while (step < steps) {
        const size_t group = step, end = step + amx_group_steps(weights, step);
        amx_zero_c(blocks * panels);
        for (; step < end; step++, x += 64) amx_step(weights, x, call->x_stride, panels, blocks);
        amx_store_c(c[turn], blocks * panels);
        turn ^= 1;
        if (group > 0) amx_add_slots(weights, sums, (const char *)c[turn], scales, stored, call->m, panels, blocks);
        stored = group;
    }
    amx_add_slots(weights, sums, (const char *)c[turn ^ 1], scales, stored, call->m, panels, blocks);
    for (int slot = 0; slot < panels; slot++)
        for (size_t m = 0; m < call->m; m += AMX_PLANES)
            amx_finish(call, weights, m / AMX_PLANES, panel + (size_t)slot, sums + slot * blocks * 1024 + m * 64);
}

static inline void amx_decode_groups(const ck_gemm_call *call, amx_weights *weights, size_t panel_begin, size_t panel_end,
                                     size_t steps) {
    amx_configure_decode(call->m);
    const size_t blocks = (call->m + 15) / 16;
    size_t panel = panel_begin;
    if (blocks == 1)
        for (; panel + 4 <= panel_end; panel += 4) amx_decode_groups_panels(call, weights, panel, 4, 1, steps);
    if (blocks == 2)
        for (; panel + 2 <= panel_end; panel += 2) amx_decode_groups_panels(call, weights, panel, 2, 2, steps);
    for (; panel < panel_end; panel++) switch (blocks) {
        case 1: amx_decode_groups_panels(call, weights, panel, 1, 1, steps); break;
        case 2: amx_decode_groups_panels(call, weights, panel, 1, 2, steps); break;
        case 3: amx_decode_groups_panels(call, weights, panel, 1, 3, steps); break;
        default: amx_decode_groups_panels(call, weights, panel, 1, 4, steps); break;
        }
}

// Prefill: C of the last two groups, for two panels 32 rows of x each, and where the last one is to be added.
typedef struct {
    _Alignas(64) char c[2][2][2048];
    int turn, panels;
    size_t rows;
    char *sums[2];
    const char *scales[2];
} amx_stored_group;

CK_INLINE void amx_add_stored(amx_stored_group *stored) {
    for (int p = 0; p < stored->panels; p++)
        amx_add_group(stored->sums[p], stored->c[stored->turn ^ 1][p], _mm512_load_ps(stored->scales[p]), stored->rows);
    stored->panels = 0;
}

// Where a weight block and its rows of x meet: two panels' tiles, scales and sums.
typedef struct {
    const char *w[2], *scales[2];
    char *sums[2];
} amx_panel_pair;

CK_INLINE void amx_prefill_groups_tile(const amx_weights *weights, const amx_weight_block *block, const char *x, size_t stride,
                                       amx_panel_pair pair, size_t rows, amx_stored_group *stored, int lower, int second,
                                       amx_ahead *ahead_x, amx_ahead *ahead_w) {
    const size_t block_end = block->first_step + block->steps;
    for (size_t step = block->first_step; step < block_end;) {
        const size_t end = step + amx_group_steps(weights, step), at = (step - block->first_step) * 64;
        amx_prefill_zero(lower, second);
        for (; step < end; step++, x += 64, pair.w[0] += AMX_TILE_BYTES, pair.w[1] += AMX_TILE_BYTES)
            amx_prefill_step(x, stride, pair.w[0], pair.w[1], lower, second, ahead_x, ahead_w);
        amx_prefill_store(stored->c[stored->turn][0], stored->c[stored->turn][1], lower, second);
        ck_tile_fence();
        amx_add_stored(stored);
        stored->turn ^= 1;
        stored->panels = 1 + second;
        stored->rows = rows;
        for (int p = 0; p < 1 + second; p++) {
            stored->sums[p] = pair.sums[p];
            stored->scales[p] = pair.scales[p] + at;
        }
    }
}

// Rows m ... m+31 of x against a whole weight block. `sums` has for each panel sums_stride bytes, 64 for each row of x.
static inline void amx_prefill_groups_rows(const ck_gemm_call *call, const amx_weights *weights, const amx_weight_block *block,
                                           const char *room, const char *scales, size_t m, size_t rows, char *sums,
                                           size_t sums_stride, amx_stored_group *stored, amx_ahead *ahead_x, amx_ahead *ahead_w) {
    const char *x = (const char *)call->x + m * call->x_stride + block->first_step * 64;
    const int lower = rows > 16;
    for (size_t p = 0; p < block->panels; p += 2) {
        const size_t second = p + 1 < block->panels, q = p + second;
        const amx_panel_pair pair = {
            .w = {room + p * AMX_BLOCK_STEPS * AMX_TILE_BYTES, room + q * AMX_BLOCK_STEPS * AMX_TILE_BYTES},
            .scales = {scales + p * AMX_BLOCK_STEPS * 64, scales + q * AMX_BLOCK_STEPS * 64},
            .sums = {sums + p * sums_stride, sums + q * sums_stride},
        };
#define TILE(lower, second)                                                                                                      \
    amx_prefill_groups_tile(weights, block, x, call->x_stride, pair, rows, stored, lower, second, ahead_x, ahead_w)
        if (lower && second) TILE(1, 1);
        else if (lower) TILE(1, 0);
        else if (second) TILE(0, 1);
        else TILE(0, 0);
#undef TILE
    }
}

// As many steps from `step` on as are whole groups and fit a block.
CK_INLINE size_t amx_whole_groups(const amx_weights *weights, size_t step, size_t steps) {
    size_t end = step;
    while (end < steps && end + AMX_GROUP_STEPS <= step + AMX_BLOCK_STEPS) end += amx_group_steps(weights, end);
    return end - step;
}

// The scales of a block as fp32: for each panel 64 bytes at each step that begins a group.
CK_INLINE void amx_block_scales(const amx_weights *weights, const amx_weight_block *block, char *target) {
    for (size_t p = 0; p < block->panels; p++, target += AMX_BLOCK_STEPS * 64) {
        const uint8_t *const scales = amx_panel_scales(weights, block->first_panel + p);
        for (size_t step = 0; step < block->steps; step += amx_group_steps(weights, block->first_step + step))
            _mm512_store_ps(target + step * 64, amx_group_scale(weights, scales, block->first_step + step));
    }
}

static inline void amx_prefill_groups(const ck_gemm_call *call, amx_weights *weights, size_t panel_begin, size_t panel_end,
                                      size_t steps, void *scratch) {
    const size_t sums_stride = amx_min(call->m, AMX_BLOCK_ROWS) * 64;
    char *const room = scratch, *const sums = room + AMX_BLOCK_PANELS * AMX_BLOCK_STEPS * AMX_TILE_BYTES;
    char *const scales = sums + AMX_BLOCK_PANELS * sums_stride;
    amx_stored_group stored;
    stored.turn = stored.panels = 0;
    for (size_t m0 = 0; m0 < call->m; m0 += AMX_BLOCK_ROWS) {
        const size_t m1 = amx_min(m0 + AMX_BLOCK_ROWS, call->m);
        for (size_t panel = panel_begin; panel < panel_end; panel += AMX_BLOCK_PANELS) {
            amx_weight_block block = {.first_panel = panel, .panels = amx_min(AMX_BLOCK_PANELS, panel_end - panel)};
            amx_ahead ahead_w = {0};
            memset(sums, 0, block.panels * sums_stride);
            for (size_t step = 0; step < steps; step += block.steps) {
                block.first_step = step;
                block.steps = amx_whole_groups(weights, step, steps);
                amx_block(weights, &block, room, &ahead_w);
                amx_block_scales(weights, &block, scales);
                ck_tile_fence();
                const char *const x = (const char *)call->x + block.first_step * 64;
                for (size_t m = m0; m < m1; m += 32) {
                    const size_t rows = amx_min(32, m1 - m);
                    const size_t next = m + rows < m1 ? m + rows : m0, next_step = m + rows < m1 ? 0 : block.steps;
                    amx_ahead ahead_x;
                    amx_ahead_start(&ahead_x, x + next_step * 64 + next * call->x_stride, call->x_stride, amx_min(32, m1 - next),
                                    block.steps * 64);
                    amx_configure_prefill(rows);
                    amx_prefill_groups_rows(call, weights, &block, room, scales, m, rows, sums + (m - m0) * 64, sums_stride,
                                            &stored, &ahead_x, &ahead_w);
                }
                amx_add_stored(&stored);
            }
            for (size_t p = 0; p < block.panels; p++)
                for (size_t m = m0; m < m1; m += AMX_PLANES)
                    amx_finish(call, weights, m / AMX_PLANES, panel + p, sums + p * sums_stride + (m - m0) * 64);
        }
    }
}

CK_INLINE void amx_run_groups(const ck_gemm_call *call, amx_weights *weights, size_t panel_begin, size_t panel_end, size_t steps,
                              void *scratch) {
    if (call->m <= AMX_DECODE_ROWS) amx_decode_groups(call, weights, panel_begin, panel_end, steps);
    else amx_prefill_groups(call, weights, panel_begin, panel_end, steps, scratch);
    ck_tile_release();
}
