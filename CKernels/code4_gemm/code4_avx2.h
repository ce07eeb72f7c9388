// What the AVX2 kernels of 4-bit codes share: a group's scales and selectors as vectors, and the steps in which they walk the
// inputs. Include inside an ISA region, after code4_layout.h.
//
// A line is two halves of 8 rows. Bytes of 16 rows stand in both lanes of a register: one shuffle spreads those of a half.
#pragma once

enum {
    CODE4_UNIT_K = 16,  // two lines: the smallest group
    CODE4_UNIT_BYTES = 2 * CODE4_LINE_BYTES,
    CODE4_STEP_UNITS = CODE4_STEP_K / CODE4_UNIT_K,
    CODE4_SCALES_AHEAD = CK_PREFETCH_BYTES / 8,  // groups of 16 have 64 bytes of scales beside 512 of codes
};

typedef struct {
    ck_scale_type type;
    uint32_t bytes;       // of the 16 scales of a group
    uint32_t step_shift;  // groups in a step, as a power of two; 1 more, since 128 has a half
    float unit;           // what 1 in `scale` below is worth
    __m256i values[4];    // CK_SCALE_INDEX: low bytes of 16 scale_values in the lower lane, high bytes in the upper
} code4_scales;

typedef struct {
    __m256 scale[2];   // of the rows of each half
    __m256i selector;  // a byte for each of 16 rows, in both lanes
} code4_group;

// Tables that selectors can name.
CK_INLINE unsigned code4_table_count(ck_scale_type type) { return type == CK_SCALE_F16 ? 1 : type == CK_SCALE_E4M3 ? 2 : 4; }

CK_INLINE __m256i code4_both_lanes(const void *at) { return _mm256_broadcastsi128_si256(_mm_loadu_si128(at)); }

CK_INLINE code4_scales code4_scales_of(const ck_code4_weights *w) {
    code4_scales s = {.type = w->scale_type,
                      .bytes = CK_PANEL_ROWS * (uint32_t)ck_code4_scale_width(w->scale_type),
                      .step_shift = (uint32_t)__builtin_ctz(2 * CODE4_STEP_K / w->group),
                      .unit = w->scale_type == CK_SCALE_E4M3 ? 0x1p8f : 1};
    for (unsigned part = 0; part < 4; part++) {
        _Alignas(32) uint8_t bytes[32];
        for (unsigned i = 0; i < 16; i++) {
            bytes[i] = (uint8_t)w->tables->scale_values[16 * part + i];
            bytes[16 + i] = (uint8_t)(w->tables->scale_values[16 * part + i] >> 8);
        }
        s.values[part] = _mm256_load_si256((const __m256i *)bytes);
    }
    return s;
}

// Bits 3...0 of an index are looked up in all four parts of the table, bits 4 and 5 choose among the four: shifted to the top of
// their bytes they are masks of a blend. Low and high bytes of the bf16 then meet again.
CK_INLINE code4_group code4_group_of_indices(const code4_scales *s, __m256i index) {
    const __m256i low = _mm256_and_si256(index, _mm256_set1_epi8(15)), bit4 = _mm256_slli_epi16(index, 3);
    const __m256i part01 =
        _mm256_blendv_epi8(_mm256_shuffle_epi8(s->values[0], low), _mm256_shuffle_epi8(s->values[1], low), bit4);
    const __m256i part23 =
        _mm256_blendv_epi8(_mm256_shuffle_epi8(s->values[2], low), _mm256_shuffle_epi8(s->values[3], low), bit4);
    const __m256i bytes = _mm256_blendv_epi8(part01, part23, _mm256_slli_epi16(index, 2));
    const __m128i low_bytes = _mm256_castsi256_si128(bytes), high_bytes = _mm256_extracti128_si256(bytes, 1);
    const __m256i rows0 = _mm256_cvtepu16_epi32(_mm_unpacklo_epi8(low_bytes, high_bytes));
    const __m256i rows8 = _mm256_cvtepu16_epi32(_mm_unpackhi_epi8(low_bytes, high_bytes));
    return (code4_group){{_mm256_castsi256_ps(_mm256_slli_epi32(rows0, 16)), _mm256_castsi256_ps(_mm256_slli_epi32(rows8, 16))},
                         _mm256_and_si256(_mm256_srli_epi16(index, 6), _mm256_set1_epi8(3))};
}

CK_INLINE code4_group code4_group_of_f16(__m256i f16, __m256i selector) {
    return (code4_group){{_mm256_cvtph_ps(_mm256_castsi256_si128(f16)), _mm256_cvtph_ps(_mm256_extracti128_si256(f16, 1))},
                         selector};
}

// E4M3: 7 bits up it is an fp16 with an exponent that is 8 too small, subnormals included.
CK_INLINE code4_group code4_group_of(const code4_scales *s, const uint8_t *at) {
    if (s->type == CK_SCALE_INDEX) return code4_group_of_indices(s, code4_both_lanes(at));
    if (s->type == CK_SCALE_E4M3) {
        const __m256i words = _mm256_slli_epi16(_mm256_cvtepu8_epi16(_mm_loadu_si128((const void *)at)), 7);
        const __m256i selector = _mm256_and_si256(_mm256_srli_epi16(code4_both_lanes(at), 7), _mm256_set1_epi8(1));
        return code4_group_of_f16(_mm256_and_si256(words, _mm256_set1_epi16(0x3F80)), selector);
    }
    const __m256i words = _mm256_loadu_si256((const void *)at);
    if (s->type == CK_SCALE_F16) return code4_group_of_f16(words, _mm256_setzero_si256());
    const __m256i selector = _mm256_and_si256(words, _mm256_set1_epi16(3));
    const __m256i rows = _mm256_permute4x64_epi64(_mm256_packus_epi16(selector, selector), 0x88);
    return code4_group_of_f16(_mm256_andnot_si256(_mm256_set1_epi16(3), words), rows);
}

// The bytes of a half's rows, each into all four of its lane's.
CK_INLINE __m256i code4_spread(__m256i rows, int half) {
    const __m256i first =
        _mm256_setr_epi8(0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3, 4, 4, 4, 4, 5, 5, 5, 5, 6, 6, 6, 6, 7, 7, 7, 7);
    return _mm256_shuffle_epi8(rows, half ? _mm256_add_epi8(first, _mm256_set1_epi8(8)) : first);
}

// The walk over a panel: blocks of inputs, in steps of 64 k.
typedef struct {
    size_t step;                         // packed
    size_t block_end, next_block, left;  // packed steps; blocks to come
} code4_walk;

CK_INLINE code4_walk code4_walk_of(const ck_gemm_call *call, const ck_code4_weights *w) {
    return (code4_walk){.step = SIZE_MAX, .left = call->k / w->view.kept_k};
}

// On to the next step; 0 after the last.
CK_INLINE int code4_next(code4_walk *at, const ck_code4_weights *w) {
    if (++at->step < at->block_end) return 1;
    if (at->left-- == 0) return 0;
    at->step = at->next_block;
    at->block_end = at->step + ck_code4_padded(w->view.kept_k) / CODE4_STEP_K;
    at->next_block += w->view.block_k / CODE4_STEP_K;
    return 1;
}

// Groups in a step and units in a group; a group of 128 counts as one of each of its two steps.
CK_INLINE size_t code4_step_groups(const ck_code4_weights *w) { return w->group < CODE4_STEP_K ? CODE4_STEP_K / w->group : 1; }
CK_INLINE size_t code4_group_units(const ck_code4_weights *w) { return CODE4_STEP_UNITS / code4_step_groups(w); }

// The scales of a step's first group, `panel` being the panel's.
CK_INLINE const uint8_t *code4_step_scales(const code4_walk *at, const code4_scales *s, const uint8_t *panel) {
    const uint8_t *const scales = panel + (at->step << s->step_shift >> 1) * s->bytes;
    _mm_prefetch((const char *)scales + CODE4_SCALES_AHEAD, _MM_HINT_T0);
    return scales;
}

// Half a line, its line asked for ahead.
CK_INLINE __m256i code4_half_line(const uint8_t *line, int half) {
    if (half == 0) _mm_prefetch((const char *)line + CK_PREFETCH_BYTES, _MM_HINT_T0);
    return _mm256_loadu_si256((const __m256i *)line + half);
}

// A dword of x or of sums in every lane.
CK_INLINE __m256i code4_broadcast(const void *at) {
    int32_t word;
    memcpy(&word, at, sizeof word);
    return _mm256_set1_epi32(word);
}
