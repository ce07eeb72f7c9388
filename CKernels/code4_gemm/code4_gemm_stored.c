// Packs the codes that are not 0 under a bitmap, and expands them again. The layout is drawn in ck_code4_gemm.h.
#include <string.h>
#include "code4_gemm/code4_layout.h"

// The codes, then zeros up to a multiple of 64 bytes, then 64 more, so that a whole vector may be loaded at any code.
size_t ck_code4_stored_bytes(uint64_t count) {
    const uint64_t bytes = count / 2 + count % 2;
    return bytes > SIZE_MAX - 128 ? 0 : (bytes + 63) / 64 * 64 + 64;
}

// A panel's codes on their way into memory, a step's at a time. Its first and its last byte may be a neighbour's too.
typedef struct {
    uint8_t *at;     // the byte of the first pending code
    int begins_odd;  // which is the high nibble
    size_t pending;
    uint8_t codes[1 + CODE4_STEP_K * CK_PANEL_ROWS + 1];  // one a byte; the last is written by codes that are not kept
} code_writer;

static void share_byte(uint8_t *byte, unsigned nibble) { __atomic_fetch_or(byte, (uint8_t)nibble, __ATOMIC_RELAXED); }

static void write_pairs(code_writer *writer) {
    size_t first = 0;
    if (writer->begins_odd && writer->pending > 0) {
        share_byte(writer->at++, (unsigned)writer->codes[first++] << 4);
        writer->begins_odd = 0;
    }
    for (; first + 1 < writer->pending; first += 2)
        *writer->at++ = (uint8_t)(writer->codes[first] | writer->codes[first + 1] << 4);
    writer->pending -= first;
    writer->codes[0] = writer->codes[first];
}

static void finish(const code_writer *writer) {
    if (writer->pending > 0) share_byte(writer->at, writer->codes[0]);
}

// The low or the high nibbles of a line; returns their mask. Every code is written, those that are 0 are written over: half of
// them are zeros at random, which no branch predictor likes.
static uint64_t add_nibbles(code_writer *writer, const uint8_t line[CODE4_LINE_BYTES], unsigned shift) {
    uint64_t mask = 0;
    for (unsigned i = 0; i < CODE4_LINE_BYTES; i++) {
        const unsigned code = line[i] >> shift & 15;
        writer->codes[writer->pending] = (uint8_t)code;
        writer->pending += code != 0;
        mask |= (uint64_t)(code != 0) << i;
    }
    return mask;
}

void ck_code4_pack_stored(const uint8_t *source, size_t stride, size_t n, size_t k, size_t panel_begin, size_t panel_end,
                          const uint64_t *offsets, uint64_t *bitmap, uint8_t *codes) {
    for (size_t panel = panel_begin; panel < panel_end; panel++) {
        const size_t first = panel * CK_PANEL_ROWS, rows = n - first < CK_PANEL_ROWS ? n - first : CK_PANEL_ROWS;
        uint64_t *mask = bitmap + panel * (ck_code4_padded(k) / 4);
        code_writer writer = {.at = codes + offsets[panel] / 2, .begins_odd = offsets[panel] % 2};
        for (size_t i = 0; i < k; i += CODE4_STEP_K) {
            uint8_t lines[CODE4_STEP_BYTES];
            const size_t left = k - i < CODE4_STEP_K ? k - i : CODE4_STEP_K;
            ck_code4_pack_codes(source + first * stride + i, stride, rows, left, 0, 1, lines);
            for (const uint8_t *line = lines; line < lines + CODE4_STEP_BYTES; line += CODE4_LINE_BYTES) {
                *mask++ = add_nibbles(&writer, line, 0);
                *mask++ = add_nibbles(&writer, line, 4);
            }
            write_pairs(&writer);
        }
        finish(&writer);
    }
}

void ck_code4_expand(const ck_code4_weights *w, size_t panel_begin, size_t panel_end, uint8_t *codes) {
    for (size_t panel = panel_begin; panel < panel_end; panel++) {
        code4_stored stored = code4_stored_of(w, panel);
        for (size_t k = 0; k < w->packed_k; k += CODE4_STEP_K, codes += CODE4_STEP_BYTES) code4_expand_step(&stored, codes);
    }
}
