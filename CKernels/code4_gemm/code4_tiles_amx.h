// Looks 4-bit codes up into tiles for support/gemm_amx.h and support/gemm_groups_amx.h; include after gemm_amx.h. There is no
// path from a zmm to a tile register but memory: tiles go through a ring of four in the L1 cache, each filled while the tile unit
// works on the one before it.
//
// Define first: CODE4_TILE_K, the inputs of a tile; code4_tables, what codes are looked up in; and
// code4_tile(weights, codes, scales, k, tile), which fills a tile from the codes of packed inputs k ... of a panel. With a bitmap
// the codes of each tile are expanded first, on the stack, which costs a store and a load for each line.
#pragma once
#include "code4_gemm/code4_expand_avx512.h"

enum { AMX_RING = 4, CODE4_TILE_BYTES = CODE4_TILE_K / CODE4_LINE_K * CODE4_LINE_BYTES };

typedef struct {
    const uint8_t *scales;
    const uint8_t *codes;  // of the whole panel
    code4_stored stored;   // with a bitmap: where the next tile begins
} code4_panel;

struct amx_weights {
    const ck_code4_weights *w;
    code4_scales scale;
    code4_tables tables;
    size_t steps, block_steps;             // steps of a row of x, and of each block of inputs
    size_t group_shift;                    // log2 of the group
    code4_panel panels[AMX_BLOCK_PANELS];  // decoding: of the slots; prefill: of the block
    size_t filled, taken;                  // tiles filled and handed out since amx_open
    _Alignas(64) char ring[AMX_RING][AMX_TILE_BYTES];
};

static void code4_tile(const amx_weights *weights, const uint8_t *codes, const uint8_t *scales, size_t k, char *tile);

CK_INLINE void code4_open(amx_weights *weights, const ck_gemm_call *call, const ck_code4_weights *w) {
    weights->w = w;
    weights->scale = code4_scales_of(w);
    weights->block_steps = ck_code4_padded(w->view.kept_k) / CODE4_TILE_K;
    weights->steps = call->k / w->view.kept_k * weights->block_steps;
    weights->group_shift = (size_t)__builtin_ctz(w->group);
}

// The packed input where a step begins. Most views are one block.
CK_INLINE size_t code4_step_k(const amx_weights *weights, size_t step) {
    if (step < weights->block_steps) return step * CODE4_TILE_K;
    return step / weights->block_steps * weights->w->view.block_k + step % weights->block_steps * CODE4_TILE_K;
}

CK_INLINE size_t amx_group_steps(const amx_weights *weights, size_t step) {
    const size_t in_block = step < weights->block_steps ? step : step % weights->block_steps;
    const size_t in_group = (code4_step_k(weights, step) & (weights->w->group - 1)) / CODE4_TILE_K;
    return amx_min(weights->block_steps - in_block, weights->w->group / CODE4_TILE_K - in_group);
}

CK_INLINE const uint8_t *code4_scales_at(const amx_weights *weights, const uint8_t *scales, size_t k) {
    return scales + (k >> weights->group_shift) * weights->scale.bytes;
}

CK_INLINE const uint8_t *amx_panel_scales(const amx_weights *weights, size_t panel) {
    return code4_panel_scales(weights->w, panel);
}

CK_INLINE __m512 amx_group_scale(const amx_weights *weights, const uint8_t *scales, size_t step) {
    return code4_group_of(&weights->scale, code4_scales_at(weights, scales, code4_step_k(weights, step))).scale;
}

CK_INLINE code4_panel code4_panel_of(const ck_code4_weights *w, size_t panel) {
    code4_panel at = {.scales = code4_panel_scales(w, panel)};
    if (w->bitmap) at.stored = code4_stored_of(w, code4_packed_panel(&w->view, panel));
    else at.codes = code4_panel_codes(w, panel);
    return at;
}

// From codes to a tile at packed input k of a panel; with a bitmap the next one. A call of its own: the loops have a dozen places
// that need a tile.
static __attribute__((noinline)) void code4_fill(const amx_weights *weights, code4_panel *panel, size_t k, char *tile) {
    _mm_prefetch((const char *)code4_scales_at(weights, panel->scales, k) + CODE4_SCALES_AHEAD, _MM_HINT_T0);
    if (weights->w->bitmap) {
        _Alignas(64) uint8_t room[CODE4_TILE_BYTES];
        code4_tile(weights, code4_expand_lines(&panel->stored, sizeof room / CODE4_LINE_BYTES, room), panel->scales, k, tile);
        return;
    }
    const uint8_t *const at = panel->codes + k / CODE4_LINE_K * CODE4_LINE_BYTES;
    for (size_t line = 0; line < CODE4_TILE_BYTES; line += CODE4_LINE_BYTES)
        _mm_prefetch((const char *)at + CK_PREFETCH_BYTES + line, _MM_HINT_T0);
    code4_tile(weights, at, panel->scales, k, tile);
}

// Fills the next tile of the ring, of a slot out of `panels`.
CK_INLINE void code4_ahead(amx_weights *weights, int slot, int panels) {
    const size_t step = weights->filled / (size_t)panels;
    if (step == weights->steps) return;
    code4_fill(weights, &weights->panels[slot], code4_step_k(weights, step), weights->ring[weights->filled++ % AMX_RING]);
}

CK_INLINE void amx_open(amx_weights *weights, size_t panel, int panels) {
    for (int slot = 0; slot < panels; slot++) weights->panels[slot] = code4_panel_of(weights->w, panel + (size_t)slot);
    weights->filled = weights->taken = 0;
    code4_ahead(weights, 0, panels);
}

CK_INLINE const char *amx_next(amx_weights *weights, int slot, int panels) {
    code4_ahead(weights, (slot + 1) % panels, panels);
    ck_tile_fence();
    return weights->ring[weights->taken++ % AMX_RING];
}

CK_INLINE void amx_block(amx_weights *weights, const amx_weight_block *block, char *room, amx_ahead *ahead) {
    for (size_t p = 0; p < block->panels; p++, room += AMX_BLOCK_STEPS * AMX_TILE_BYTES) {
        if (block->first_step == 0) weights->panels[p] = code4_panel_of(weights->w, block->first_panel + p);
        for (size_t step = 0; step < block->steps; step++)
            code4_fill(weights, &weights->panels[p], code4_step_k(weights, block->first_step + step),
                       room + step * AMX_TILE_BYTES);
    }
    // The next block begins where the first panel's codes go on; the other panels' are asked for as they are expanded.
    if (weights->w->bitmap) {
        amx_ahead_start(ahead, (const char *)weights->panels[0].stored.low, 0, 1, 0);
        return;
    }
    const size_t next = code4_step_k(weights, block->first_step + block->steps) / CODE4_LINE_K * CODE4_LINE_BYTES;
    amx_ahead_start(ahead, (const char *)code4_panel_codes(weights->w, block->first_panel) + next,
                    code4_panel_bytes(weights->w->packed_k), block->panels, AMX_BLOCK_STEPS * CODE4_TILE_BYTES);
}
