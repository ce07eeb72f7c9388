// Packs the codes that are not 0 under a bitmap, checks, and expands them again. The layout is drawn in ck_code4_gemm.h.
#include <string.h>
#include "code4_gemm/code4_layout.h"

// The bytes of all panels, then zeros up to a multiple of 64, then 64 more, so that a whole vector may be loaded at any code.
size_t ck_code4_stored_bytes(uint64_t count) { return count > SIZE_MAX - 128 ? 0 : (count + 63) / 64 * 64 + 64; }

static uint64_t more(uint64_t a, uint64_t b) { return a > b ? a : b; }

// Codes of a row that are not 0: low nibbles, the first four of every 8 k, and high ones.
static void count_row(const uint8_t *row, size_t k, uint64_t count[2]) {
    for (size_t i = 0; i < k; i += CODE4_LINE_K) {
        uint64_t eight = 0;
        memcpy(&eight, row + i, k - i < CODE4_LINE_K ? k - i : CODE4_LINE_K);
        const uint64_t stored = ((eight & 0x0F0F0F0F0F0F0F0F) + 0x0F0F0F0F0F0F0F0F) & 0x1010101010101010;
        count[0] += (uint64_t)__builtin_popcount((uint32_t)stored);
        count[1] += (uint64_t)__builtin_popcount((uint32_t)(stored >> 32));
    }
}

void ck_code4_count_stored(const uint8_t *source, size_t stride, size_t n, size_t k, size_t panel_begin, size_t panel_end,
                           uint64_t *counts) {
    for (size_t panel = panel_begin; panel < panel_end; panel++) {
        uint64_t count[2] = {0, 0};
        for (size_t row = 0; row < code4_rows(panel, n); row++)
            count_row(source + (panel * CK_PANEL_ROWS + row) * stride, k, count);
        *counts++ = more(count[0], count[1]);
    }
}

// Copies the codes of a line that are in the nibbles `half`, 0x0F or 0xF0, to the bytes from *at on; returns their mask. Every
// nibble is written, those that are 0 are written over: half of them are zeros at random, which no branch predictor likes.
static uint64_t store_half(const uint8_t line[CODE4_LINE_BYTES], uint8_t half, uint8_t **at) {
    uint8_t stored[CODE4_LINE_BYTES + 1];
    unsigned count = 0;
    uint64_t mask = 0;
    for (unsigned i = 0; i < CODE4_LINE_BYTES; i++) {
        const uint64_t is_stored = (line[i] & half) != 0;
        stored[count] = line[i] & half;
        count += (unsigned)is_stored;
        mask |= is_stored << i;
    }
    for (unsigned i = 0; i < count; i++) *(*at)++ |= stored[i];
    return mask;
}

void ck_code4_pack_stored(const uint8_t *source, size_t stride, size_t n, size_t k, size_t panel_begin, size_t panel_end,
                          const uint64_t *offsets, uint64_t *bitmap, uint8_t *codes) {
    for (size_t panel = panel_begin; panel < panel_end; panel++) {
        const uint8_t *const rows = source + panel * CK_PANEL_ROWS * stride;
        uint64_t *mask = bitmap + panel * code4_panel_masks(k);
        uint8_t *low = codes + offsets[panel], *high = low;
        for (size_t i = 0; i < k; i += CODE4_STEP_K) {
            uint8_t lines[CODE4_STEP_BYTES];
            ck_code4_pack_codes(rows + i, stride, code4_rows(panel, n), k - i < CODE4_STEP_K ? k - i : CODE4_STEP_K, 0, 1, lines);
            for (const uint8_t *line = lines; line < lines + CODE4_STEP_BYTES; line += CODE4_LINE_BYTES) {
                *mask++ = store_half(line, 0x0F, &low);
                *mask++ = store_half(line, 0xF0, &high);
            }
        }
    }
}

void ck_code4_expand(const ck_code4_weights *w, size_t panel_begin, size_t panel_end, uint8_t *codes) {
    for (size_t panel = panel_begin; panel < panel_end; panel++) {
        code4_stored stored = code4_stored_of(w, panel);
        for (size_t k = 0; k < w->packed_k; k += CODE4_STEP_K, codes += CODE4_STEP_BYTES) code4_expand_step(&stored, codes);
    }
}

// The bits of a mask that n and k leave, `rows` rows of `left` inputs.
static uint64_t legal_mask(size_t rows, size_t left) {
    const uint64_t row = left < 4 ? (1u << left) - 1 : 15, all = 0x1111111111111111 * row;
    return rows < CK_PANEL_ROWS ? all & ((1ull << 4 * rows) - 1) : all;
}

// Whether `count` nibbles of `bytes` bytes, those of `half`, are codes and the others are not.
static int half_agrees(const uint8_t *codes, uint8_t half, uint64_t count, uint64_t bytes) {
    if (count > 0 && (codes[count - 1] & half) == 0) return 0;
    for (uint64_t i = count; i < bytes; i++)
        if (codes[i] & half) return 0;
    return 1;
}

int ck_code4_stored_agree(const ck_code4_weights *w, size_t n, size_t k, size_t panel) {
    const uint64_t *const mask = w->bitmap + panel * code4_panel_masks(k);
    uint64_t count[2] = {0, 0};
    for (size_t quad = 0; quad < code4_panel_masks(k); quad++) {
        if (mask[quad] & ~legal_mask(code4_rows(panel, n), 4 * quad < k ? k - 4 * quad : 0)) return 0;
        count[quad % 2] += (uint64_t)__builtin_popcountll(mask[quad]);
    }
    const uint64_t begin = w->offsets[panel], end = w->offsets[panel + 1], bytes = more(count[0], count[1]);
    if (end < begin || end - begin != bytes || end > w->offsets[ck_panels(n)]) return 0;
    return half_agrees(w->codes + begin, 0x0F, count[0], bytes) && half_agrees(w->codes + begin, 0xF0, count[1], bytes);
}
