// code4_gemm of int8 and of int16 rows of x, AVX2: all but the multiplication. A unit is 16 k of 8 rows, four operands of 8 rows
// x 4 k: the low and the high nibbles of two half lines, looked up in the table of integers + 16 to be unsigned. Each group's sum
// starts at -16 times that of x, so it ends exact. Tables with larger integers are WIDE and have WIDE_OFFSET in place of 16.
//
// Define WIDE_OFFSET and the type x_element; include inside an ISA region, after store_avx2.h, code4_avx2.h and
// code4_expand_avx2.h; then define the function declared here.
#pragma once

enum {
    OPERANDS = 4,
    ROWS = 8,  // of x in a pass
    NARROW_LIMIT = 16,
    MARK = 0x80,  // in the place of entry 8: its top bit is set, which no other narrow entry has, and is the mask of a blend
};

// PLAIN: one narrow table. SPECIAL: narrow tables; with a bitmap one too, to compile less. WIDE: any.
typedef enum { PLAIN, SPECIAL, WIDE } mode;

// Adds the products of a unit with its 16 k of x to the sums of `rows` rows, `stride` elements apart.
static void add_unit(__m256i sum[ROWS], const __m256i weights[OPERANDS], const x_element *x, size_t stride, int rows, mode mode);

typedef struct {
    code4_scales scales;
    __m256i table, specials;  // both lanes; entry 8 of each table in the low bytes of `specials`
    int offset;               // what integers are looked up with
    mode mode;
} decoder;

static mode mode_of(const ck_code4_weights *w) {
    mode mode = w->bitmap ? SPECIAL : PLAIN;
    for (unsigned table = 0; table < code4_table_count(w->scale_type); table++) {
        const int8_t *const integers = w->tables->integers[table];
        for (unsigned i = 0; i < 16; i++)
            if (integers[i] < -NARROW_LIMIT || integers[i] > NARROW_LIMIT) return WIDE;
        if (integers[8] != w->tables->integers[0][8]) mode = SPECIAL;
    }
    return mode;
}

static decoder decoder_of(const ck_code4_weights *w) {
    decoder d = {.scales = code4_scales_of(w), .mode = mode_of(w)};
    uint8_t table[16], specials[16] = {0};
    d.offset = d.mode == WIDE ? WIDE_OFFSET : NARROW_LIMIT;
    for (unsigned i = 0; i < 16; i++) table[i] = (uint8_t)(w->tables->integers[0][i] + d.offset);
    for (unsigned i = 0; i < 4; i++) specials[i] = (uint8_t)(w->tables->integers[i][8] + d.offset);
    if (d.mode == SPECIAL) table[8] = MARK;
    d.table = code4_both_lanes(table);
    d.specials = code4_both_lanes(specials);
    return d;
}

// 8 rows x 4 k from the low nibbles of the bytes.
CK_INLINE __m256i look_up(const decoder *d, __m256i nibbles, __m256i special, mode mode) {
    const __m256i codes = _mm256_and_si256(nibbles, _mm256_set1_epi8(15));
    const __m256i weights = _mm256_shuffle_epi8(d->table, codes);
    if (mode == PLAIN) return weights;
    return _mm256_blendv_epi8(weights, special, mode == WIDE ? _mm256_cmpeq_epi8(codes, _mm256_set1_epi8(8)) : weights);
}

CK_INLINE void decode_unit(const decoder *d, const uint8_t *line, int half, __m256i special, __m256i weights[OPERANDS],
                           mode mode) {
    CK_UNROLL
    for (int i = 0; i < 2; i++, line += CODE4_LINE_BYTES) {
        const __m256i both = code4_half_line(line, half);
        weights[2 * i] = look_up(d, both, special, mode);
        weights[2 * i + 1] = look_up(d, _mm256_srli_epi16(both, 4), special, mode);
    }
}

CK_INLINE __m256 add_scaled(__m256i sum, __m256 scale, __m256 acc) {
    return _mm256_fmadd_ps(_mm256_cvtepi32_ps(sum), scale, acc);
}

// Not inlined: every count of rows ends in it.
static void finish(const ck_gemm_call *call, const ck_code4_weights *w, const decoder *d, size_t m, size_t panel, __m256 rows0,
                   __m256 rows8) {
    const float scale = w->tensor_scale * call->x_scale[m];
    ck_finish_scaled_avx2(call, m, panel, 0, rows0, d->scales.unit, scale);
    ck_finish_scaled_avx2(call, m, panel, 1, rows8, d->scales.unit, scale);
}

// What the rows of x read: x and sums at a group, and their strides.
typedef struct {
    const x_element *x;
    size_t x_stride;      // elements
    const int32_t *sums;  // as sum_x leaves them
    size_t row_sums;
    const uint8_t *lines;  // the panel's, expanded before, or NULL
} cursor;

// A group of a half against `rows` rows of x.
CK_INLINE void add_codes(const decoder *d, const uint8_t *codes, const code4_group *group, __m256i special, const cursor *at,
                         size_t units, int half, __m256 (*acc)[2], int rows, mode mode) {
    __m256i sum[ROWS];
    CK_UNROLL
    for (int m = 0; m < rows; m++) sum[m] = code4_broadcast(at->sums + (size_t)m * at->row_sums);
    for (size_t unit = 0; unit < units; unit++, codes += CODE4_UNIT_BYTES) {
        __m256i weights[OPERANDS];
        decode_unit(d, codes, half, special, weights, mode);
        add_unit(sum, weights, at->x + unit * CODE4_UNIT_K, at->x_stride, rows, mode);
    }
    CK_UNROLL
    for (int m = 0; m < rows; m++) acc[m][half] = add_scaled(sum[m], group->scale[half], acc[m][half]);
}

// A panel against `rows` rows of x from m0 on.
CK_INLINE void panel_rows(const ck_gemm_call *call, const ck_code4_weights *w, const decoder *d, size_t panel, size_t m0,
                          cursor at, int rows, mode mode, int bitmap) {
    const uint8_t *const panel_scales = code4_panel_scales(w, panel);
    code4_lines panel_lines;
    code4_open_lines(&panel_lines, w, panel, at.lines, bitmap);
    const size_t groups = code4_step_groups(w), units = code4_group_units(w);
    __m256 acc[ROWS][2];
    CK_UNROLL
    for (int m = 0; m < rows; m++) acc[m][0] = acc[m][1] = _mm256_setzero_ps();
    for (code4_walk walk = code4_walk_of(call, w); code4_next(&walk, w);) {
        const uint8_t *codes = code4_step_lines(&panel_lines, walk.step, bitmap);
        const uint8_t *scales = code4_step_scales(&walk, &d->scales, panel_scales);
        for (size_t g = 0; g < groups; g++, codes += units * CODE4_UNIT_BYTES, scales += d->scales.bytes) {
            const code4_group group = code4_group_of(&d->scales, scales);
            const __m256i special = _mm256_shuffle_epi8(d->specials, group.selector);
            CK_UNROLL
            for (int half = 0; half < 2; half++)
                add_codes(d, codes, &group, code4_spread(special, half), &at, units, half, acc, rows, mode);
            at.x += units * CODE4_UNIT_K;
            at.sums++;
        }
    }
    CK_UNROLL
    for (int m = 0; m < rows; m++) finish(call, w, d, m0 + (size_t)m, panel, acc[m][0], acc[m][1]);
}

// A panel against all rows of x.
CK_INLINE void panel_all(const ck_gemm_call *call, const ck_code4_weights *w, const decoder *d, size_t panel, cursor at,
                         mode mode, int bitmap) {
    for (size_t m = 0; m < call->m; m += ROWS, at.x += ROWS * at.x_stride, at.sums += ROWS * at.row_sums) {
#define CK_CALL(R) panel_rows(call, w, d, panel, m, at, R, mode, bitmap)
        CK_FOR_ROWS_8((call->m - m < ROWS ? call->m - m : ROWS), CK_CALL)
#undef CK_CALL
    }
}

// What a row's sums start from in each group of the walk.
static void sum_x(const ck_gemm_call *call, const ck_code4_weights *w, int offset, const x_element *x, int32_t *sums) {
    const size_t width = CODE4_STEP_K / code4_step_groups(w), end = ck_code4_x_elements(call->k, &w->view);
    for (size_t k = 0; k < end; k += width) {
        int32_t sum = 0;
        for (size_t i = 0; i < width; i++) sum += x[k + i];
        *sums++ = -offset * sum;
    }
}

// Sums of x for a row: one for each group of the walk.
static size_t row_sums_of(const ck_gemm_call *call, const ck_code4_weights *w) {
    return ck_code4_x_elements(call->k, &w->view) / CODE4_STEP_K * code4_step_groups(w);
}

// Scratch: with a bitmap and more than one pass a panel's lines; then the sums of x of all rows.
CK_INLINE size_t lines_bytes(const ck_gemm_call *call, const ck_code4_weights *w) {
    return call->m > ROWS ? code4_room_bytes(w) : 0;
}

CK_INLINE size_t scratch_bytes(const ck_gemm_call *call, const ck_code4_weights *w) {
    return lines_bytes(call, w) + (call->m * row_sums_of(call, w) * sizeof(int32_t) + 63) / 64 * 64;
}

// Rows of x are x_stride elements apart.
CK_INLINE void multiply(const ck_gemm_call *call, const ck_code4_weights *w, size_t panel_begin, size_t panel_end,
                        const x_element *x, size_t x_stride, uint8_t *scratch) {
    const decoder d = decoder_of(w);
    int32_t *const sums = (int32_t *)(scratch + lines_bytes(call, w));
    cursor start = {x, x_stride, sums, row_sums_of(call, w), NULL};
    for (size_t m = 0; m < call->m; m++) sum_x(call, w, d.offset, x + m * x_stride, sums + m * start.row_sums);
    for (size_t panel = panel_begin; panel < panel_end; panel++) {
        if (lines_bytes(call, w) > 0) start.lines = code4_expand_panel(w, panel, scratch);
        const int bitmap = w->bitmap && !start.lines;
        switch (d.mode) {
        case PLAIN: panel_all(call, w, &d, panel, start, PLAIN, 0); break;
        case SPECIAL:
            if (bitmap) panel_all(call, w, &d, panel, start, SPECIAL, 1);
            else panel_all(call, w, &d, panel, start, SPECIAL, 0);
            break;
        case WIDE:
            if (bitmap) panel_all(call, w, &d, panel, start, WIDE, 1);
            else panel_all(call, w, &d, panel, start, WIDE, 0);
            break;
        }
    }
}
