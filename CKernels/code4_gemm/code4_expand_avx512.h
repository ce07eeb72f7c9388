// Stored codes of weights with a bitmap back into lines. Include inside an ISA region with VBMI2, after code4_avx512.h.
//
//   codes     ... 5 4 3 2 1 0        nibbles from `next` on, which may begin in the middle of a byte
//   VPERMD    qword j holds the 8 nibbles of bytes 4 j ... 4 j + 3, and the next byte
//   VPMULTISHIFTQB     a nibble in the lower half of each byte; the upper half is whatever comes next
//   VPEXPANDB          into the bytes that the mask names, all others 0
//
// Loads 64 bytes at a code; the last codes are followed by 64 zeros.
#pragma once

// The 64 nibbles of four k, in the lower halves of the bytes.
CK_INLINE __m512i code4_expand_quad(code4_stored *at) {
    static const uint64_t shifts[2] = {0x1C1814100C080400, 0x201C1814100C0804};
    const __m512i overlapping = _mm512_setr_epi32(0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7, 8);
    const uint64_t mask = *at->mask++;
    const __m512i codes = _mm512_permutexvar_epi32(overlapping, _mm512_loadu_si512(at->codes + at->next / 2));
    const __m512i nibbles = _mm512_multishift_epi64_epi8(_mm512_set1_epi64((int64_t)shifts[at->next % 2]), codes);
    at->next += (uint64_t)__builtin_popcountll(mask);
    return _mm512_maskz_expand_epi8(mask, nibbles);
}

CK_INLINE __m512i code4_expand_line(code4_stored *at) {
    const __m512i low = code4_expand_quad(at), high = code4_expand_quad(at);
    return _mm512_ternarylogic_epi32(low, _mm512_set1_epi8(15), _mm512_slli_epi16(high, 4), CODE4_MERGE);
}

// The next lines, into a room in the L1 cache: what looks codes up is the same with and without a bitmap, and a store and a load
// for each line go where nothing else waits.
CK_INLINE const uint8_t *code4_expand_lines(code4_stored *at, size_t lines, uint8_t *room) {
    for (size_t line = 0; line < lines; line++) {
        _mm_prefetch((const char *)at->mask + CK_PREFETCH_BYTES, _MM_HINT_T0);
        _mm_prefetch((const char *)(at->codes + at->next / 2) + CK_PREFETCH_BYTES, _MM_HINT_T0);
        _mm512_store_si512(room + line * CODE4_LINE_BYTES, code4_expand_line(at));
    }
    return room;
}

// A panel's lines run by run, as code4_next walks: where they lie, or with `bitmap` expanded.
typedef struct {
    const uint8_t *codes;
    code4_stored stored;
    _Alignas(64) uint8_t room[2 * CODE4_STEP_BYTES];
} code4_lines;

CK_INLINE void code4_open_lines(code4_lines *lines, const ck_code4_weights *w, size_t panel, int bitmap) {
    if (bitmap) lines->stored = code4_stored_of(w, code4_packed_panel(&w->view, panel));
    else lines->codes = code4_panel_codes(w, panel);
}

CK_INLINE const uint8_t *code4_run_lines(code4_lines *lines, const code4_walk *at, int bitmap) {
    if (!bitmap) return lines->codes + at->step * CODE4_STEP_BYTES;
    return code4_expand_lines(&lines->stored, at->steps * (CODE4_STEP_K / CODE4_LINE_K), lines->room);
}
