// Stored codes of weights with a bitmap back into lines. Include inside an ISA region with VBMI2, after code4_avx512.h.
//
// Low and high nibbles have a cursor each. A load at either has the next codes, in the half of the bytes where the line wants
// them; VPEXPANDB spreads the bytes, and one VPTERNLOG makes a line of the halves.
//
// Loads 64 bytes at a code; the last codes are followed by 64 zeros.
#pragma once

CK_INLINE __m512i code4_expand_line(code4_stored *at) {
    const uint64_t low_mask = at->mask[0], high_mask = at->mask[1];
    const __m512i low = _mm512_maskz_expand_epi8(low_mask, _mm512_loadu_si512(at->low));
    const __m512i high = _mm512_maskz_expand_epi8(high_mask, _mm512_loadu_si512(at->high));
    at->mask += 2;
    at->low += __builtin_popcountll(low_mask);
    at->high += __builtin_popcountll(high_mask);
    return _mm512_ternarylogic_epi32(low, _mm512_set1_epi8(15), high, CODE4_MERGE);
}

// The next lines, a multiple of 4, into a room in the L1 cache: what looks codes up is the same with and without a bitmap, and a
// store and a load for each line go where nothing else waits.
CK_INLINE const uint8_t *code4_expand_lines(code4_stored *at, size_t lines, uint8_t *room) {
    code4_stored next = *at;
    for (uint8_t *line = room; line < room + lines * CODE4_LINE_BYTES;) {
        _mm_prefetch((const char *)next.mask + CK_PREFETCH_BYTES, _MM_HINT_T0);
        CK_UNROLL
        for (int i = 0; i < 4; i++, line += CODE4_LINE_BYTES) {
            if (i % 2 == 0) _mm_prefetch((const char *)next.low + CK_PREFETCH_BYTES, _MM_HINT_T0);
            _mm512_store_si512(line, code4_expand_line(&next));
        }
    }
    *at = next;
    return room;
}

// All lines of a panel of the view, for several passes over it.
CK_INLINE const uint8_t *code4_expand_panel(const ck_code4_weights *w, size_t panel, uint8_t *room) {
    code4_stored stored = code4_stored_of(w, code4_packed_panel(&w->view, panel));
    return code4_expand_lines(&stored, ck_code4_padded(w->view.kept_k) / CODE4_LINE_K, room);
}

// A panel's lines run by run, as code4_next walks: where they lie, or with `bitmap` expanded.
typedef struct {
    const uint8_t *codes;
    code4_stored stored;
    _Alignas(64) uint8_t room[2 * CODE4_STEP_BYTES];
} code4_lines;

// `expanded`: what code4_expand_panel returned, or NULL.
CK_INLINE void code4_open_lines(code4_lines *lines, const ck_code4_weights *w, size_t panel, const uint8_t *expanded,
                                int bitmap) {
    if (bitmap) lines->stored = code4_stored_of(w, code4_packed_panel(&w->view, panel));
    else lines->codes = expanded ? expanded : code4_panel_codes(w, panel);
}

CK_INLINE const uint8_t *code4_run_lines(code4_lines *lines, const code4_walk *at, int bitmap) {
    if (!bitmap) return lines->codes + at->step * CODE4_STEP_BYTES;
    return code4_expand_lines(&lines->stored, at->steps * (CODE4_STEP_K / CODE4_LINE_K), lines->room);
}
