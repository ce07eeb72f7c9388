// code4_gemm of int8 rows of x or of int16 rows, which are two planes of int8, by VPDPBUSD. Define CODE4_PLANES, 1 or 2; include
// inside an ISA region, after store_avx512.h, code4_avx512.h and code4_expand_avx512.h.
//
// The low and the high nibbles of a line are a VPDPBUSD operand each, looked up in the table of integers + 128 to be unsigned,
// and meet each plane of x. A group's sum starts at what the 128 add, so it ends exact; q is an element of x, h and l its planes:
//
//   int8    sum q w = -128 sum q + sum q (w + 128)                             |sum q w| <= 128 * 127 * 127 < 2^21
//   int16   sum q w = 256 sum h (w + 128) - 128 sum q + sum l (w + 128)        |sum q w| <= 128 * 32639 * 127 < 2^29
//
// int32 holds both, and what it wraps on the way comes back. The sums of x are the same for all panels and are taken once for a
// call. A row of x has an int32 accumulator for each plane and one in fp32. Rows beyond 8 look the codes up again: beside 8
// VPDPBUSD that costs nothing on Zen 4, which permutes in other units, and a sixteenth on Golden Cove, as llvm-mca reckons.
#pragma once

enum { FEW_ROWS = 4, RUN_STEPS = 2 };  // up to so few rows two panels at a time

typedef struct {
    code4_scales scales;
    __m512i table;
} decoder;

static decoder decoder_of(const ck_code4_weights *w) {
    _Alignas(64) uint8_t table[64];
    for (unsigned i = 0; i < 64; i++)
        table[i] = (uint8_t)(w->tables->integers[code4_table_of(w->scale_type, i / 16)][i % 16] + 128);
    return (decoder){code4_scales_of(w), _mm512_load_si512(table)};
}

// 16 rows x 4 k from the low nibbles of the bytes.
CK_INLINE __m512i look_up(const decoder *d, __m512i nibbles, __m512i selector) {
    return _mm512_permutexvar_epi8(_mm512_ternarylogic_epi32(nibbles, _mm512_set1_epi8(15), selector, CODE4_MERGE), d->table);
}

// The 8 k of a line, four and four.
CK_INLINE void decode_line(const decoder *d, const uint8_t *line, __m512i selector, __m512i weights[2]) {
    const __m512i both = _mm512_loadu_si512(line);
    code4_prefetch(line);
    weights[0] = look_up(d, both, selector);
    weights[1] = look_up(d, _mm512_srli_epi16(both, 4), selector);
}

// What a pass reads in the order of the walk.
typedef struct {
    const char *x;  // the first plane of the pass's first row
    size_t x_stride;
    const int32_t *sums;   // as sum_x leaves them
    const uint8_t *lines;  // the panel's, expanded before, or NULL
} cursor;

// Sums of a group, for each panel, plane and row.
typedef __m512i sums[CODE4_PANELS][CODE4_PLANES][CODE4_ROWS];

// One line of each of `panels` panels. With `split` the one row has a chain for each half of a line: 32 VPDPBUSD of 4 or 5 cycles
// would wait for one another.
CK_INLINE void add_line(const decoder *d, cursor *at, const uint8_t *const codes[CODE4_PANELS], size_t offset,
                        const code4_group groups[CODE4_PANELS], sums sum, int rows, int panels, int split) {
    CK_UNROLL
    for (int p = 0; p < panels; p++) {
        __m512i weights[2];
        decode_line(d, codes[p] + offset, groups[p].selector, weights);
        CK_UNROLL
        for (int i = 0; i < CODE4_PLANES * rows; i++) {
            const char *const x = at->x + (size_t)i * at->x_stride;
            __m512i *const chain = &sum[p][i % CODE4_PLANES][i / CODE4_PLANES];
            chain[0] = _mm512_dpbusd_epi32(chain[0], weights[0], code4_broadcast(x));
            chain[split] = _mm512_dpbusd_epi32(chain[split], weights[1], code4_broadcast(x + 4));
        }
    }
    at->x += CODE4_LINE_K;
}

// What the planes' sums are together.
CK_INLINE __m512i whole(sums sum, int p, int m) {
    if (CODE4_PLANES == 1) return sum[p][0][m];
    return _mm512_add_epi32(_mm512_slli_epi32(sum[p][0][m], 8), sum[p][CODE4_PLANES - 1][m]);
}

// A group's lines into its rows' sums, of each panel.
CK_INLINE void add_group(const decoder *d, cursor *at, const uint8_t *const codes[CODE4_PANELS], size_t lines,
                         const code4_group groups[CODE4_PANELS], __m512 acc[CODE4_PANELS][CODE4_ROWS], int rows, int panels,
                         code4_case which) {
    const int split = rows == 1 && which != NARROW;
    sums sum;
    CK_UNROLL
    for (int p = 0; p < panels; p++) {
        CK_UNROLL
        for (int m = 0; m < rows + split; m++) {
            sum[p][0][m] = _mm512_setzero_si512();
            sum[p][CODE4_PLANES - 1][m] = m < rows ? code4_broadcast(at->sums + m) : _mm512_setzero_si512();
        }
    }
    at->sums += rows;
    for (size_t offset = 0; offset < lines * CODE4_LINE_BYTES; offset += 2 * CODE4_LINE_BYTES) {
        add_line(d, at, codes, offset, groups, sum, rows, panels, split);
        add_line(d, at, codes, offset + CODE4_LINE_BYTES, groups, sum, rows, panels, split);
    }
    CK_UNROLL
    for (int p = 0; p < panels; p++) {
        CK_UNROLL
        for (int plane = 0; split && plane < CODE4_PLANES; plane++)
            sum[p][plane][0] = _mm512_add_epi32(sum[p][plane][0], sum[p][plane][1]);
        CK_UNROLL
        for (int m = 0; m < rows; m++)
            acc[p][m] = _mm512_fmadd_ps(_mm512_cvtepi32_ps(whole(sum, p, m)), groups[p].scale, acc[p][m]);
    }
}

CK_INLINE float finish_scale(const ck_gemm_call *call, const ck_code4_weights *w, size_t m) {
    return w->tensor_scale * call->x_scale[m];
}

#include "code4_gemm/code4_rows_avx512.h"

// Every lane's share of the sum over its group of `width` bytes, a dword for 4 of them.
CK_INLINE __m512i sum_groups(__m512i quads, size_t width) {
    quads = _mm512_add_epi32(quads, _mm512_shuffle_epi32(quads, 0xB1));
    quads = _mm512_add_epi32(quads, _mm512_shuffle_epi32(quads, 0x4E));
    if (width > 16) quads = _mm512_add_epi32(quads, _mm512_shuffle_i64x2(quads, quads, 0xB1));
    if (width > 32) quads = _mm512_add_epi32(quads, _mm512_shuffle_i64x2(quads, quads, 0x4E));
    return quads;
}

// -128 times the sum of a row of x over each group of the walk, `stride` elements apart.
static void sum_x(const ck_gemm_call *call, const ck_code4_weights *w, size_t m, int32_t *sums, size_t stride) {
    const int8_t *x = (const int8_t *)call->x + CODE4_PLANES * m * call->x_stride;
    const size_t width = CODE4_STEP_K / code4_run_groups(w);
    const __m512i ones = _mm512_set1_epi8(1);
    for (code4_walk walk = code4_walk_of(call, w); code4_next(&walk, w, 2);) {
        __m512i sum = _mm512_setzero_si512(), high = sum;
        for (size_t i = 0; i < walk.steps; i++, x += CODE4_STEP_K) {
            sum = _mm512_dpbusd_epi32(sum, ones, _mm512_loadu_si512(x + (CODE4_PLANES - 1) * call->x_stride));
            if (CODE4_PLANES > 1) high = _mm512_dpbusd_epi32(high, ones, _mm512_loadu_si512(x));
        }
        sum = sum_groups(_mm512_add_epi32(sum, _mm512_slli_epi32(high, 8)), width);
        _Alignas(64) int32_t groups[16];
        _mm512_store_si512(groups, _mm512_sub_epi32(_mm512_setzero_si512(), _mm512_slli_epi32(sum, 7)));
        for (size_t quad = 0; quad < CODE4_STEP_K / 4; quad += width / 4, sums += stride) *sums = groups[quad];
    }
}

// Scratch: with a bitmap and more than one pass a panel's lines; then the sums of x, passes one after the other, in each
// [group of the walk][row].
static size_t sums_of_row(const ck_gemm_call *call, const ck_code4_weights *w) {
    return ck_code4_x_elements(call->k, &w->view) / CODE4_STEP_K * code4_run_groups(w);
}

CK_INLINE size_t scratch_bytes(const ck_gemm_call *call, const ck_code4_weights *w) {
    return lines_bytes(call, w) + (call->m * sums_of_row(call, w) * sizeof(int32_t) + 63) / 64 * 64;
}

CK_INLINE void multiply(const ck_gemm_call *call, const ck_code4_weights *w, size_t panel_begin, size_t panel_end,
                        uint8_t *scratch) {
    const decoder d = decoder_of(w);
    int32_t *const sums = (int32_t *)(scratch + lines_bytes(call, w));
    const size_t row_sums = sums_of_row(call, w);
    for (size_t m = 0; m < call->m; m++) {
        const size_t first = m / CODE4_ROWS * CODE4_ROWS;
        sum_x(call, w, m, sums + first * row_sums + (m - first), code4_pass_rows(call, first));
    }
    size_t panel = panel_begin;
    if (call->m <= FEW_ROWS) {
        const cursor at = {call->x, call->x_stride, sums, NULL};
        for (; panel + CODE4_PANELS <= panel_end; panel += CODE4_PANELS) {
            if (call->m == 1 && w->group == 16 && !w->bitmap) {
                panel_rows(call, w, &d, panel, 0, at, 1, CODE4_PANELS, 0, NARROW);
                continue;
            }
#define CK_CALL(R)                                                                                                               \
    if (w->bitmap) panel_rows(call, w, &d, panel, 0, at, R, CODE4_PANELS, 1, USUAL);                                             \
    else panel_rows(call, w, &d, panel, 0, at, R, CODE4_PANELS, 0, USUAL)
            CK_FOR_ROWS_4(call->m, CK_CALL)
#undef CK_CALL
        }
    }
    for (; panel < panel_end; panel++) {
        const uint8_t *const lines = lines_bytes(call, w) > 0 ? code4_expand_panel(w, panel, scratch) : NULL;
        for (size_t m = 0; m < call->m; m += CODE4_ROWS) {
            const char *const x = (const char *)call->x + CODE4_PLANES * m * call->x_stride;
            const cursor at = {x, call->x_stride, sums + m * row_sums, lines};
#define CK_CALL(R)                                                                                                               \
    if (w->bitmap && !lines) panel_rows(call, w, &d, panel, m, at, R, 1, 1, USUAL);                                              \
    else panel_rows(call, w, &d, panel, m, at, R, 1, 0, USUAL)
            CK_FOR_ROWS_8(code4_pass_rows(call, m), CK_CALL)
#undef CK_CALL
        }
    }
}
