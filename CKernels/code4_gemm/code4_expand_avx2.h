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

// The codes from bit `at` of the sequence on, one in each of the bytes that 8 bits of a mask name.
CK_INLINE uint64_t code4_expand_8(const uint8_t *codes, uint64_t *at, uint8_t mask) {
    uint64_t nibbles;
    memcpy(&nibbles, codes + *at / 8, sizeof nibbles);
    nibbles >>= *at % 8;
    *at += 4 * (uint64_t)__builtin_popcount(mask);
    return _pdep_u64(nibbles, code4_nibbles[mask]);
}

typedef struct {
    const uint8_t *codes;  // without a bitmap the panel's
    code4_stored stored;
    _Alignas(32) uint8_t room[CODE4_STEP_BYTES];
} code4_lines;

CK_INLINE void code4_open_lines(code4_lines *lines, const ck_code4_weights *w, size_t panel, int bitmap) {
    if (bitmap) lines->stored = code4_stored_of(w, code4_packed_panel(&w->view, panel));
    else lines->codes = code4_panel_codes(w, panel);
}

// Not inlined: every count of rows calls it.
static __attribute__((noinline)) const uint8_t *code4_expand_next(code4_lines *lines) {
    const uint8_t *const codes = lines->stored.codes, *masks = (const uint8_t *)lines->stored.mask;
    uint64_t next = 4 * lines->stored.next;
    for (uint8_t *line = lines->room; line < lines->room + CODE4_STEP_BYTES; line += CODE4_LINE_BYTES, masks += 16) {
        uint64_t low = next, high = low + 4 * (uint64_t)__builtin_popcountll(lines->stored.mask[0]);
        next = high + 4 * (uint64_t)__builtin_popcountll(lines->stored.mask[1]);
        lines->stored.mask += 2;
        _mm_prefetch((const char *)codes + low / 8 + CK_PREFETCH_BYTES, _MM_HINT_T0);
        _mm_prefetch((const char *)masks + CK_PREFETCH_BYTES, _MM_HINT_T0);
        CK_UNROLL
        for (unsigned part = 0; part < 8; part++) {
            const uint64_t low_codes = code4_expand_8(codes, &low, masks[part]);
            const uint64_t eight = low_codes | code4_expand_8(codes, &high, masks[8 + part]) << 4;
            memcpy(line + 8 * part, &eight, sizeof eight);
        }
    }
    lines->stored.next = next / 4;
    return lines->room;
}

// A packed step's lines; with a bitmap the next one's.
CK_INLINE const uint8_t *code4_step_lines(code4_lines *lines, size_t step, int bitmap) {
    return bitmap ? code4_expand_next(lines) : lines->codes + step * CODE4_STEP_BYTES;
}
