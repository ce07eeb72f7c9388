// What the AVX-512 kernels of 4-bit codes share: a group's scales and selectors as vectors, and the runs in which they walk the
// inputs. Include inside an ISA region with VBMI, after code4_layout.h.
//
// Codes are looked up in a table of 64 entries, index = code | selector << 4. One VPTERNLOG merges the two: CODE4_MERGE takes
// the bits of a mask from the codes and all others from the selectors. The permutes ignore bits above the index, so selectors
// need to be right in bits 4 and 5 alone.
#pragma once

enum {
    CODE4_ROWS = 8,                              // rows of x in a pass: their accumulators fit the registers
    CODE4_PANELS = 2,                            // panels that few rows of x meet at once: two streams from memory
    CODE4_MERGE = 0xE2,                          // of (codes, mask, selectors)
    CODE4_SCALES_AHEAD = CK_PREFETCH_BYTES / 8,  // groups of 16 have 64 bytes of scales beside 512 of codes
};

typedef struct {
    ck_scale_type type;
    uint32_t bytes;       // of the 16 scales of a group
    uint32_t step_shift;  // groups in a step, as a power of two; 1 more, since 128 has a half
    float unit;           // what 1 in `scale` below is worth
    __m512i replicate;    // VPERMB: the low byte of a row's stored scale into all four of its lane
    __m512i low, high;    // CK_SCALE_INDEX: scale_values
} code4_scales;

// A lane, or the four bytes of a lane, for each row.
typedef struct {
    __m512 scale;
    __m512i selector;
} code4_group;

CK_INLINE code4_scales code4_scales_of(const ck_code4_weights *w) {
    const uint32_t width = (uint32_t)ck_code4_scale_width(w->scale_type);
    _Alignas(64) uint8_t replicate[64];
    for (uint32_t i = 0; i < 64; i++) replicate[i] = (uint8_t)(i / 4 * width);
    return (code4_scales){.type = w->scale_type,
                          .bytes = CK_PANEL_ROWS * width,
                          .step_shift = (uint32_t)__builtin_ctz(2 * CODE4_STEP_K / w->group),
                          .unit = w->scale_type == CK_SCALE_E4M3 ? 0x1p8f : 1,
                          .replicate = _mm512_load_si512(replicate),
                          .low = _mm512_loadu_si512(w->tables->scale_values),
                          .high = _mm512_loadu_si512(w->tables->scale_values + 32)};
}

// INDEX: as words, a replicated byte is an index into scale_values; the looked-up bf16 goes to the high half of the lane, which
// makes it fp32. E4M3: 7 bits up it is an fp16 with an exponent that is 8 too small, subnormals included.
CK_INLINE code4_group code4_group_of(const code4_scales *s, const uint8_t *at) {
    if (s->type == CK_SCALE_INDEX) {
        const __m512i bytes = _mm512_permutexvar_epi8(s->replicate, _mm512_zextsi128_si512(_mm_loadu_si128((const void *)at)));
        const __m512i scale = _mm512_maskz_permutex2var_epi16(0xAAAAAAAA, s->low, bytes, s->high);
        return (code4_group){_mm512_castsi512_ps(scale), _mm512_srli_epi16(bytes, 2)};
    }
    if (s->type == CK_SCALE_E4M3) {
        const __m128i stored = _mm_loadu_si128((const void *)at);
        const __m256i f16 = _mm256_and_si256(_mm256_slli_epi16(_mm256_cvtepu8_epi16(stored), 7), _mm256_set1_epi16(0x3F80));
        const __m512i bytes = _mm512_permutexvar_epi8(s->replicate, _mm512_zextsi128_si512(stored));
        return (code4_group){_mm512_cvtph_ps(f16), _mm512_srli_epi16(bytes, 3)};
    }
    const __m256i stored = _mm256_loadu_si256((const void *)at);
    if (s->type == CK_SCALE_F16) return (code4_group){_mm512_cvtph_ps(stored), _mm512_setzero_si512()};
    const __m512i bytes = _mm512_permutexvar_epi8(s->replicate, _mm512_zextsi256_si512(stored));
    return (code4_group){_mm512_cvtph_ps(_mm256_and_si256(stored, _mm256_set1_epi16(-4))), _mm512_slli_epi16(bytes, 4)};
}

// The table that selector bits 0...3, as code4_group_of leaves them, name: F16 has one table, and E4M3 no second bit.
CK_INLINE unsigned code4_table_of(ck_scale_type type, unsigned selector) {
    return type == CK_SCALE_F16 ? 0 : type == CK_SCALE_E4M3 ? selector & 1 : selector;
}

// The walk over a panel: blocks of inputs, in steps of 64 k. Groups of 16 and 32 lie whole in a step; wider ones are taken in
// runs, the steps of a block that share a group.
typedef struct {
    size_t step, steps;                  // the run: its first packed step and their number
    size_t block_end, next_block, left;  // packed steps; blocks to come
} code4_walk;

CK_INLINE code4_walk code4_walk_of(const ck_gemm_call *call, const ck_code4_weights *w) {
    return (code4_walk){.left = call->k / w->view.kept_k};
}

// On to the next run, of `most` steps at most; 0 after the last.
CK_INLINE int code4_next(code4_walk *at, const ck_code4_weights *w, size_t most) {
    at->step += at->steps;
    if (at->step == at->block_end) {
        if (at->left-- == 0) return 0;
        at->step = at->next_block;
        at->block_end = at->step + ck_code4_padded(w->view.kept_k) / CODE4_STEP_K;
        at->next_block += w->view.block_k / CODE4_STEP_K;
    }
    at->steps = most == 2 && w->group > CODE4_STEP_K && at->step % 2 == 0 && at->step + 1 < at->block_end ? 2 : 1;
    return 1;
}

CK_INLINE size_t code4_run_groups(const ck_code4_weights *w) { return w->group < CODE4_STEP_K ? CODE4_STEP_K / w->group : 1; }

// The lines that each of a run's groups has.
CK_INLINE size_t code4_group_lines(const code4_walk *at, size_t groups) {
    return groups > 1 ? CODE4_STEP_K / CODE4_LINE_K / groups : at->steps * (CODE4_STEP_K / CODE4_LINE_K);
}

// The scales of a run's first group, `panel` being the panel's.
CK_INLINE const uint8_t *code4_run_scales(const code4_walk *at, const code4_scales *s, const uint8_t *panel) {
    const uint8_t *const scales = panel + (at->step << s->step_shift >> 1) * s->bytes;
    _mm_prefetch((const char *)scales + CODE4_SCALES_AHEAD, _MM_HINT_T0);
    return scales;
}

CK_INLINE void code4_prefetch(const uint8_t *line) { _mm_prefetch((const char *)line + CK_PREFETCH_BYTES, _MM_HINT_T0); }

// A dword of x or of sums in every lane.
CK_INLINE __m512i code4_broadcast(const void *at) {
    int32_t word;
    memcpy(&word, at, sizeof word);
    return _mm512_set1_epi32(word);
}

// bf16 values are looked up as bytes, the lower and the upper ones of 64 codes at a time: VPERMB is one micro-operation where
// VPERMI2W, which looks whole values up, is three for half as many.
typedef struct {
    __m512i lower, upper;
} code4_values;

CK_INLINE code4_values code4_values_of(const ck_code4_weights *w) {
    _Alignas(64) uint8_t lower[64], upper[64];
    for (unsigned i = 0; i < 64; i++) {
        const uint16_t value = w->tables->values[code4_table_of(w->scale_type, i / 16)][i % 16];
        lower[i] = (uint8_t)(value & 255);
        upper[i] = (uint8_t)(value >> 8);
    }
    return (code4_values){_mm512_load_si512(lower), _mm512_load_si512(upper)};
}

// Pairs of bf16, a dword for each row: the inputs of bytes 0 and 2 of a line, and of bytes 1 and 3.
typedef struct {
    __m512i even, odd;
} code4_pairs;

// Of the low nibbles. Lower bytes are looked up with the bytes of each word exchanged, so that one half of the result is in place
// already.
CK_INLINE code4_pairs code4_look_up(const code4_values *values, __m512i codes, __m512i selector) {
    const __m512i index = _mm512_ternarylogic_epi32(codes, _mm512_set1_epi8(0x0F), selector, CODE4_MERGE);
    const __m512i upper = _mm512_permutexvar_epi8(index, values->upper);
    const __m512i lower = _mm512_permutexvar_epi8(_mm512_shldi_epi16(index, index, 8), values->lower);
    return (code4_pairs){.even = _mm512_shldi_epi16(upper, lower, 8),
                         .odd = _mm512_mask_blend_epi8(0xAAAAAAAAAAAAAAAA, lower, upper)};
}

// The four pairs of a line, in the order of x.
CK_INLINE void code4_line_pairs(const code4_values *values, const uint8_t *line, __m512i selector, __m512i pairs[4]) {
    const __m512i codes = _mm512_loadu_si512(line);
    const code4_pairs low = code4_look_up(values, codes, selector);
    const code4_pairs high = code4_look_up(values, _mm512_srli_epi16(codes, 4), selector);
    pairs[0] = low.even;
    pairs[1] = high.even;
    pairs[2] = low.odd;
    pairs[3] = high.odd;
}

// NARROW: groups are of 16; their work on few rows is so little that the loop around it would cost as much. DENSE: the weights
// are looked up already.
typedef enum { USUAL, NARROW, DENSE } code4_case;

CK_INLINE size_t code4_pass_rows(const ck_gemm_call *call, size_t m) {
    return call->m - m < CODE4_ROWS ? call->m - m : CODE4_ROWS;
}
