// Expands bitmap weights into tiles for support/gemm_amx.h; include after it. There is no path from a zmm to a tile register but
// memory: tiles go through a ring of four in the L1 cache, each expanded while the tile unit works on the one before it.
//
// Define first: BITMAP_MASK, the integer type of a mask (one line of a tile), BITMAP_VALUE, the type of a value, and
// bitmap_expand(mask, &value).
#pragma once

enum { AMX_RING = 4 };

struct amx_weights {
    const ck_bitmap_weights *w;
    size_t steps;                         // of a whole panel
    const BITMAP_MASK *mask[4], *end[4];  // decoding: where the next tile of each slot begins, and where its panel ends
    const BITMAP_VALUE *value[4];
    size_t expanded, taken;                        // tiles expanded and handed out since amx_open
    const BITMAP_VALUE *cursor[AMX_BLOCK_PANELS];  // prefill: where each panel of the block goes on
    _Alignas(64) char ring[AMX_RING][AMX_TILE_BYTES];
};

CK_INLINE const BITMAP_MASK *bitmap_of(const amx_weights *weights, size_t panel) {
    return (const BITMAP_MASK *)weights->w->bitmap + panel * weights->steps * 16;
}

CK_INLINE const BITMAP_VALUE *values_of(const amx_weights *weights, size_t panel) {
    return (const BITMAP_VALUE *)weights->w->values + weights->w->offsets[panel];
}

CK_INLINE const BITMAP_VALUE *expand_tile(const BITMAP_MASK *mask, const BITMAP_VALUE *value, char *tile) {
    for (size_t line = 0; line < 16; line++) _mm512_store_si512(tile + 64 * line, bitmap_expand(mask[line], &value));
    return value;
}

CK_INLINE void prefetch_tile(const BITMAP_MASK *mask, const BITMAP_VALUE *value) {
    for (size_t line = 0; line < AMX_TILE_BYTES; line += 64)
        _mm_prefetch((const char *)value + CK_PREFETCH_BYTES + line, _MM_HINT_T0);
    for (size_t line = 0; line < sizeof(BITMAP_MASK) * 16; line += 64)
        _mm_prefetch((const char *)mask + CK_PREFETCH_BYTES + line, _MM_HINT_T0);
}

CK_INLINE void expand_ahead(amx_weights *weights, int slot) {
    if (weights->mask[slot] == weights->end[slot]) return;
    prefetch_tile(weights->mask[slot], weights->value[slot]);
    weights->value[slot] = expand_tile(weights->mask[slot], weights->value[slot], weights->ring[weights->expanded++ % AMX_RING]);
    weights->mask[slot] += 16;
}

CK_INLINE void amx_open(amx_weights *weights, size_t panel, int panels) {
    for (int slot = 0; slot < panels; slot++) {
        weights->mask[slot] = bitmap_of(weights, panel + (size_t)slot);
        weights->end[slot] = bitmap_of(weights, panel + (size_t)slot + 1);
        weights->value[slot] = values_of(weights, panel + (size_t)slot);
    }
    weights->expanded = weights->taken = 0;
    expand_ahead(weights, 0);
}

CK_INLINE const char *amx_next(amx_weights *weights, int slot, int panels) {
    expand_ahead(weights, (slot + 1) % panels);
    ck_tile_fence();
    return weights->ring[weights->taken++ % AMX_RING];
}

CK_INLINE void amx_block(amx_weights *weights, const amx_weight_block *block, char *room, amx_ahead *ahead) {
    for (size_t p = 0; p < block->panels; p++) {
        const size_t panel = block->first_panel + p;
        const BITMAP_VALUE *value = block->first_step == 0 ? values_of(weights, panel) : weights->cursor[p];
        const BITMAP_MASK *mask = bitmap_of(weights, panel) + block->first_step * 16;
        char *tile = room + p * AMX_BLOCK_STEPS * AMX_TILE_BYTES;
        for (size_t step = 0; step < block->steps; step++, mask += 16, tile += AMX_TILE_BYTES) {
            prefetch_tile(mask, value);
            value = expand_tile(mask, value, tile);
        }
        weights->cursor[p] = value;
    }
    // The next block begins where the first panel's values go on; the other panels' follow by prefetch_tile.
    amx_ahead_start(ahead, (const char *)weights->cursor[0], 0, 1, 0);
}
