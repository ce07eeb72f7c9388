// Lines of a panel step by step: where they lie, or stored codes expanded. Include inside an ISA region, after code4_avx2.h.
//
// PDEP spreads 8 codes, a byte each, over the bytes that 8 bits of a mask name. Low and high nibbles have a cursor each, and only
// the cursors wait for one another.
#pragma once
#include "support/expand_avx2.h"

// Byte i of 8 where bit i of a mask is set.
#define CODE4_BYTE(mask, bit) ((mask) >> (bit) & 1 ? 255ull << 8 * (bit) : 0)
#define CODE4_BYTES(mask)                                                                                                        \
    CODE4_BYTE(mask, 0) | CODE4_BYTE(mask, 1) | CODE4_BYTE(mask, 2) | CODE4_BYTE(mask, 3) | CODE4_BYTE(mask, 4) |                \
        CODE4_BYTE(mask, 5) | CODE4_BYTE(mask, 6) | CODE4_BYTE(mask, 7)
static const uint64_t code4_bytes[256] = {MASKS_256(CODE4_BYTES)};

// The bytes from a cursor on, one in each of those that 8 bits of a mask name.
CK_INLINE uint64_t code4_expand_8(const uint8_t **at, uint8_t mask) {
    uint64_t bytes;
    memcpy(&bytes, *at, sizeof bytes);
    *at += __builtin_popcount(mask);
    return _pdep_u64(bytes, code4_bytes[mask]);
}

typedef struct {
    const uint8_t *codes;  // without a bitmap the panel's
    code4_stored stored;
    _Alignas(32) uint8_t room[CODE4_STEP_BYTES];
} code4_lines;

// Not inlined: every count of rows calls it.
static __attribute__((noinline)) const uint8_t *code4_expand_steps(code4_stored *at, size_t steps, uint8_t *room) {
    const uint64_t low_nibbles = 0x0F0F0F0F0F0F0F0F;
    code4_stored next = *at;
    for (uint8_t *line = room; line < room + steps * CODE4_STEP_BYTES; line += CODE4_LINE_BYTES, next.mask += 2) {
        const uint8_t *const masks = (const uint8_t *)next.mask;
        _mm_prefetch((const char *)next.low + CK_PREFETCH_BYTES, _MM_HINT_T0);
        _mm_prefetch((const char *)masks + CK_PREFETCH_BYTES, _MM_HINT_T0);
        CK_UNROLL
        for (unsigned part = 0; part < 8; part++) {
            const uint64_t low = code4_expand_8(&next.low, masks[part]), high = code4_expand_8(&next.high, masks[8 + part]);
            const uint64_t eight = (low & low_nibbles) | (high & ~low_nibbles);
            memcpy(line + 8 * part, &eight, sizeof eight);
        }
    }
    *at = next;
    return room;
}

// All lines of a panel of the view, for several passes over it.
CK_INLINE const uint8_t *code4_expand_panel(const ck_code4_weights *w, size_t panel, uint8_t *room) {
    code4_stored stored = code4_stored_of(w, code4_packed_panel(&w->view, panel));
    return code4_expand_steps(&stored, ck_code4_padded(w->view.kept_k) / CODE4_STEP_K, room);
}

// `expanded`: what code4_expand_panel returned, or NULL.
CK_INLINE void code4_open_lines(code4_lines *lines, const ck_code4_weights *w, size_t panel, const uint8_t *expanded,
                                int bitmap) {
    if (bitmap) lines->stored = code4_stored_of(w, code4_packed_panel(&w->view, panel));
    else lines->codes = expanded ? expanded : code4_panel_codes(w, panel);
}

// A packed step's lines; with a bitmap the next one's.
CK_INLINE const uint8_t *code4_step_lines(code4_lines *lines, size_t step, int bitmap) {
    return bitmap ? code4_expand_steps(&lines->stored, 1, lines->room) : lines->codes + step * CODE4_STEP_BYTES;
}
