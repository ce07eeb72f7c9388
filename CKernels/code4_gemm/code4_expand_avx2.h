// Lines of a panel step by step: where they lie, or stored codes expanded. Include inside an ISA region, after code4_avx2.h.
//
// PDEP spreads 8 nibbles over the 8 bytes that 8 bits of a mask name. The low and the high nibbles of a line are next to each
// other in the sequence of codes, each read with a cursor of its own: only the cursors wait for one another.
#pragma once
#include "support/expand_avx2.h"

// Nibble i of 8 where bit i of a mask is set, in the low half of byte i.
#define CODE4_NIBBLE(mask, bit) ((mask) >> (bit) & 1 ? 15ull << 8 * (bit) : 0)
#define CODE4_NIBBLES(mask)                                                                                                      \
    CODE4_NIBBLE(mask, 0) | CODE4_NIBBLE(mask, 1) | CODE4_NIBBLE(mask, 2) | CODE4_NIBBLE(mask, 3) | CODE4_NIBBLE(mask, 4) |      \
        CODE4_NIBBLE(mask, 5) | CODE4_NIBBLE(mask, 6) | CODE4_NIBBLE(mask, 7)
static const uint64_t code4_nibbles[256] = {MASKS_256(CODE4_NIBBLES)};

// The next codes, one in each of the bytes that 8 bits of a mask name.
CK_INLINE uint64_t code4_expand_8(const uint8_t *codes, uint64_t *next, uint64_t mask) {
    uint64_t nibbles;
    memcpy(&nibbles, codes + *next / 2, sizeof nibbles);
    nibbles >>= *next % 2 * 4;
    *next += (uint64_t)__builtin_popcountll(mask);
    return _pdep_u64(nibbles, code4_nibbles[mask]);
}

typedef struct {
    const uint8_t *codes;  // the panel's, or NULL with a bitmap
    code4_stored stored;
    _Alignas(32) uint8_t room[CODE4_STEP_BYTES];
} code4_lines;

CK_INLINE void code4_open_lines(code4_lines *lines, const ck_code4_weights *w, size_t panel) {
    lines->codes = w->bitmap ? NULL : code4_panel_codes(w, panel);
    if (w->bitmap) lines->stored = code4_stored_of(w, code4_packed_panel(&w->view, panel));
}

static __attribute__((noinline)) const uint8_t *code4_expand_next(code4_lines *lines) {
    code4_stored *const at = &lines->stored;
    for (uint8_t *line = lines->room; line < lines->room + CODE4_STEP_BYTES; line += CODE4_LINE_BYTES, at->mask += 2) {
        uint64_t low = at->next, high = low + (uint64_t)__builtin_popcountll(at->mask[0]);
        at->next = high + (uint64_t)__builtin_popcountll(at->mask[1]);
        _mm_prefetch((const char *)(at->codes + low / 2) + CK_PREFETCH_BYTES, _MM_HINT_T0);
        _mm_prefetch((const char *)at->mask + CK_PREFETCH_BYTES, _MM_HINT_T0);
        CK_UNROLL
        for (unsigned part = 0; part < 8; part++) {
            const uint64_t eight = code4_expand_8(at->codes, &low, at->mask[0] >> 8 * part & 255) |
                                   code4_expand_8(at->codes, &high, at->mask[1] >> 8 * part & 255) << 4;
            memcpy(line + 8 * part, &eight, sizeof eight);
        }
    }
    return lines->room;
}

// A packed step's lines; with a bitmap the next one's.
CK_INLINE const uint8_t *code4_step_lines(code4_lines *lines, size_t step) {
    return __builtin_expect(lines->codes != NULL, 1) ? lines->codes + step * CODE4_STEP_BYTES : code4_expand_next(lines);
}
