// Where a code, a group's scale and an element of x lie; the layout is drawn in ck_code4_gemm.h.
#pragma once
#include "ck_code4_gemm.h"

enum {
    CODE4_LINE_K = 8,   // inputs in a line of 64 bytes
    CODE4_STEP_K = 64,  // inputs in a step of 8 lines
    CODE4_LINE_BYTES = 64,
    CODE4_STEP_BYTES = 512,
};

static inline size_t code4_panel_bytes(size_t packed_k) { return ck_code4_padded(packed_k) / CODE4_LINE_K * CODE4_LINE_BYTES; }

static inline size_t code4_panel_scale_bytes(size_t packed_k, size_t group, ck_scale_type type) {
    return ck_code4_groups(packed_k, group) * CK_PANEL_ROWS * ck_code4_scale_width(type);
}

// Rows of a panel that are not padding.
static inline size_t code4_rows(size_t panel, size_t n) {
    const size_t left = n - panel * CK_PANEL_ROWS;
    return left < CK_PANEL_ROWS ? left : CK_PANEL_ROWS;
}

// Of the bitmap.
static inline size_t code4_panel_masks(size_t packed_k) { return ck_code4_padded(packed_k) / 4; }

// The packed panel that a panel of the view is.
static inline size_t code4_packed_panel(const ck_code4_view *view, size_t panel) {
    return panel / view->kept_panels * view->block_panels + panel % view->kept_panels;
}

// Of weights without a bitmap.
static inline const uint8_t *code4_panel_codes(const ck_code4_weights *w, size_t panel) {
    return w->codes + code4_packed_panel(&w->view, panel) * code4_panel_bytes(w->packed_k);
}

static inline const uint8_t *code4_panel_scales(const ck_code4_weights *w, size_t panel) {
    return (const uint8_t *)w->scales +
           code4_packed_panel(&w->view, panel) * code4_panel_scale_bytes(w->packed_k, w->group, w->scale_type);
}

// The byte of a panel that holds the code of a row's packed input k, and whether it is the high nibble.
static inline size_t code4_byte(size_t row, size_t k) { return k / CODE4_LINE_K * CODE4_LINE_BYTES + row * 4 + k % 4; }
static inline unsigned code4_shift(size_t k) { return k % CODE4_LINE_K < 4 ? 0 : 4; }

// The packed input that input k of the view is.
static inline size_t code4_packed_input(const ck_code4_view *view, size_t k) {
    return k / view->kept_k * view->block_k + k % view->kept_k;
}

// Where input k of the view lies in a row of x, before the order of bf16.
static inline size_t code4_x_position(const ck_code4_view *view, size_t k) {
    return k / view->kept_k * ck_code4_padded(view->kept_k) + k % view->kept_k;
}

static inline uint32_t code4_scale_bits(const uint8_t *scales, size_t group, size_t row, ck_scale_type type) {
    const size_t at = group * CK_PANEL_ROWS + row;
    if (ck_code4_scale_width(type) == 1) return scales[at];
    uint16_t bits;
    __builtin_memcpy(&bits, scales + 2 * at, sizeof bits);
    return bits;
}

// A panel's stored codes on their way back into lines, step by step from its first.
typedef struct {
    const uint64_t *mask;       // two for each line
    const uint8_t *low, *high;  // the bytes of the next codes that are low and high nibbles
} code4_stored;

static inline code4_stored code4_stored_of(const ck_code4_weights *w, size_t packed_panel) {
    const uint8_t *const codes = w->codes + w->offsets[packed_panel];
    return (code4_stored){w->bitmap + packed_panel * code4_panel_masks(w->packed_k), codes, codes};
}

static inline void code4_expand_step(code4_stored *at, uint8_t lines[CODE4_STEP_BYTES]) {
    __builtin_memset(lines, 0, CODE4_STEP_BYTES);
    for (uint8_t *line = lines; line < lines + CODE4_STEP_BYTES; line += CODE4_LINE_BYTES) {
        for (uint64_t mask = *at->mask++; mask; mask &= mask - 1) line[__builtin_ctzll(mask)] = *at->low++ & 0x0F;
        for (uint64_t mask = *at->mask++; mask; mask &= mask - 1) line[__builtin_ctzll(mask)] |= *at->high++ & 0xF0;
    }
}

// The lines of a panel of the view wherever they are; with a bitmap they are expanded into `room` of code4_room_bytes.
static inline const uint8_t *code4_panel_lines(const ck_code4_weights *w, size_t panel, void *room) {
    if (!w->bitmap) return code4_panel_codes(w, panel);
    const size_t packed = code4_packed_panel(&w->view, panel);
    ck_code4_expand(w, packed, packed + 1, (uint8_t *)room);
    return room;
}

// Whether a packed panel's bitmap, offsets and stored codes are what ck_code4_pack_stored makes.
int ck_code4_stored_agree(const ck_code4_weights *w, size_t n, size_t k, size_t panel);

static inline size_t code4_room_bytes(const ck_code4_weights *w) { return w->bitmap ? code4_panel_bytes(w->packed_k) : 0; }
