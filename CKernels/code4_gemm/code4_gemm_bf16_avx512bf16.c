// code4_gemm of bf16 rows of x, AVX-512 BF16. A line gives four operands of VDPBF16PS, looked up in the table of values. A group,
// or a step of a wider one, is summed from zero and then joins its row's sum as the scale's multiple:
//
//   acc = fma(sum x w, scale, acc)
//
// Even and odd pairs have a chain each, so that not 32 VDPBF16PS of 6 cycles wait for one another: 8 rows of x take 24 registers.
#include "ck_code4_gemm.h"
#include "support/isa.h"

#if CK_X86
#include "code4_gemm/code4_layout.h"
#include "support/for_rows.h"
#include "support/prefetch.h"

CK_ISA_BEGIN(avx512bf16)
#include "support/store_avx512.h"
#include "code4_gemm/code4_avx512.h"
#include "code4_gemm/code4_expand_avx512.h"

// From so many rows on, a panel's weights are looked up once into scratch for all full passes.
enum { DENSE_FROM = 3 * CODE4_ROWS, FEW_ROWS = 2, RUN_STEPS = 1, PAIRS = 4, DENSE_LINE_BYTES = PAIRS * 64 };

typedef struct {
    code4_scales scales;
    code4_values values;
} decoder;

CK_INLINE void decode_line(const decoder *d, const uint8_t *line, __m512i selector, __m512i weights[PAIRS]) {
    code4_prefetch(line);
    code4_line_pairs(&d->values, line, selector, weights);
}

// What a pass reads in the order of the walk.
typedef struct {
    const char *x;  // the pass's first row
    size_t x_stride;
    const uint8_t *lines;  // the panel's, expanded before, or NULL
    const uint8_t *dense;  // as look_up_panel leaves it; read only by DENSE passes
} cursor;

// Sums of even and of odd pairs.
typedef struct {
    __m512 chain[2][CODE4_ROWS];
} sums;

// One line of each of `panels` panels.
CK_INLINE void add_line(const decoder *d, cursor *at, const uint8_t *const codes[CODE4_PANELS], size_t offset,
                        const code4_group groups[CODE4_PANELS], sums sum[CODE4_PANELS], int rows, int panels, code4_case which) {
    CK_UNROLL
    for (int p = 0; p < panels; p++) {
        __m512i weights[PAIRS];
        if (which == DENSE) {
            CK_UNROLL
            for (int pair = 0; pair < PAIRS; pair++) weights[pair] = _mm512_load_si512(at->dense + 64 * pair);
            at->dense += DENSE_LINE_BYTES;
        } else decode_line(d, codes[p] + offset, groups[p].selector, weights);
        CK_UNROLL
        for (int pair = 0; pair < PAIRS; pair++) {
            CK_UNROLL
            for (int m = 0; m < rows; m++) {
                const __m512i x = code4_broadcast(at->x + (size_t)m * at->x_stride + 4 * pair);
                __m512 *const chain = &sum[p].chain[pair % 2][m];
                *chain = _mm512_dpbf16_ps(*chain, (__m512bh)weights[pair], (__m512bh)x);
            }
        }
    }
    at->x += CODE4_LINE_K * sizeof(uint16_t);
}

// A group's lines into its rows' sums, of each panel.
CK_INLINE void add_group(const decoder *d, cursor *at, const uint8_t *const codes[CODE4_PANELS], size_t lines,
                         const code4_group groups[CODE4_PANELS], __m512 acc[CODE4_PANELS][CODE4_ROWS], int rows, int panels,
                         code4_case which) {
    sums sum[CODE4_PANELS];
    CK_UNROLL
    for (int p = 0; p < panels; p++) {
        CK_UNROLL
        for (int m = 0; m < rows; m++) sum[p].chain[0][m] = sum[p].chain[1][m] = _mm512_setzero_ps();
    }
    for (size_t offset = 0; offset < lines * CODE4_LINE_BYTES; offset += 2 * CODE4_LINE_BYTES) {
        add_line(d, at, codes, offset, groups, sum, rows, panels, which);
        add_line(d, at, codes, offset + CODE4_LINE_BYTES, groups, sum, rows, panels, which);
    }
    CK_UNROLL
    for (int p = 0; p < panels; p++) {
        CK_UNROLL
        for (int m = 0; m < rows; m++)
            acc[p][m] = _mm512_fmadd_ps(_mm512_add_ps(sum[p].chain[0][m], sum[p].chain[1][m]), groups[p].scale, acc[p][m]);
    }
}

CK_INLINE float finish_scale(const ck_gemm_call *call, const ck_code4_weights *w, size_t m) {
    (void)call, (void)m;
    return w->tensor_scale;
}

#include "code4_gemm/code4_rows_avx512.h"

// A panel's weights in the order of the walk.
static void look_up_panel(const ck_gemm_call *call, const ck_code4_weights *w, const decoder *d, size_t panel, uint8_t *dense) {
    const code4_scales *const s = &d->scales;
    const uint8_t *const panel_scales = code4_panel_scales(w, panel);
    const size_t groups = code4_run_groups(w);
    code4_lines panel_lines;
    code4_open_lines(&panel_lines, w, panel, NULL, w->bitmap != NULL);
    for (code4_walk walk = code4_walk_of(call, w); code4_next(&walk, w, 1);) {
        const size_t lines = code4_group_lines(&walk, groups);
        const uint8_t *line = code4_run_lines(&panel_lines, &walk, w->bitmap != NULL);
        const uint8_t *scales = code4_run_scales(&walk, s, panel_scales);
        for (size_t g = 0; g < groups; g++, scales += s->bytes) {
            const code4_group group = code4_group_of(s, scales);
            for (size_t i = 0; i < lines; i++, line += CODE4_LINE_BYTES, dense += DENSE_LINE_BYTES) {
                __m512i weights[PAIRS];
                decode_line(d, line, group.selector, weights);
                for (int pair = 0; pair < PAIRS; pair++) _mm512_store_si512(dense + 64 * pair, weights[pair]);
            }
        }
    }
}

size_t ck_code4_gemm_bf16_avx512bf16_scratch(const ck_gemm_call *call, const ck_code4_weights *w) {
    if (call->m < DENSE_FROM) return lines_bytes(call, w);
    return CK_PANEL_ROWS * ck_code4_x_elements(call->k, &w->view) * sizeof(uint16_t);
}

void ck_code4_gemm_bf16_avx512bf16(const ck_gemm_call *call, const ck_code4_weights *w, size_t panel_begin, size_t panel_end,
                                   void *scratch) {
    const decoder d = {code4_scales_of(w), code4_values_of(w)};
    uint8_t *const dense = call->m < DENSE_FROM ? NULL : scratch;
    size_t panel = panel_begin;
    if (call->m <= FEW_ROWS) {
        const cursor at = {call->x, call->x_stride, NULL, NULL};
        for (; panel + CODE4_PANELS <= panel_end; panel += CODE4_PANELS) {
            if (call->m == 1 && w->bitmap) panel_rows(call, w, &d, panel, 0, at, 1, CODE4_PANELS, 1, USUAL);
            else if (call->m == 1) panel_rows(call, w, &d, panel, 0, at, 1, CODE4_PANELS, 0, USUAL);
            else if (w->bitmap) panel_rows(call, w, &d, panel, 0, at, 2, CODE4_PANELS, 1, USUAL);
            else panel_rows(call, w, &d, panel, 0, at, 2, CODE4_PANELS, 0, USUAL);
        }
    }
    for (; panel < panel_end; panel++) {
        if (dense) look_up_panel(call, w, &d, panel, dense);
        const uint8_t *const lines = !dense && lines_bytes(call, w) > 0 ? code4_expand_panel(w, panel, scratch) : NULL;
        for (size_t m = 0; m < call->m; m += CODE4_ROWS) {
            const cursor at = {(const char *)call->x + m * call->x_stride, call->x_stride, lines, dense};
            if (dense && code4_pass_rows(call, m) == CODE4_ROWS) {
                panel_rows(call, w, &d, panel, m, at, CODE4_ROWS, 1, 0, DENSE);
                continue;
            }
#define CK_CALL(R)                                                                                                               \
    if (w->bitmap && !lines) panel_rows(call, w, &d, panel, m, at, R, 1, 1, USUAL);                                              \
    else panel_rows(call, w, &d, panel, m, at, R, 1, 0, USUAL)
            CK_FOR_ROWS_8(code4_pass_rows(call, m), CK_CALL)
#undef CK_CALL
        }
    }
}

CK_ISA_END
#endif
