// code4_gemm of bf16 rows of x, AVX-512 BF16. The words of a line, shifted by 0, 4, 8 and 12, hold the codes of one VDPBF16PS
// operand each, looked up in the table of values. A group, or a step of a wider one, is summed from zero and then joins its row's
// sum as the scale's multiple:
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

// From so many rows on, a panel's weights are looked up once into scratch for all full passes.
enum { EXPANDED_FROM = 3 * CODE4_ROWS, PAIRS = 4, DENSE_LINE_BYTES = PAIRS * 64 };

// Selectors 0, 1 | 2, 3. Where both halves are the same, VPERMW of one does: on Intel it is a third of VPERMI2W's work.
typedef struct {
    code4_scales scales;
    __m512i low, high;
    int halves;
} decoder;

static decoder decoder_of(const ck_code4_weights *w) {
    _Alignas(64) uint16_t table[4][16];
    for (unsigned selector = 0; selector < 4; selector++)
        memcpy(table[selector], w->tables->values[code4_table_of(w->scale_type, selector)], sizeof table[selector]);
    return (decoder){code4_scales_of(w), _mm512_load_si512(table[0]), _mm512_load_si512(table[2]),
                     memcmp(table[0], table[2], 64) != 0};
}

// 16 rows x 2 k from the low nibbles of the words.
CK_INLINE __m512i look_up(const decoder *d, __m512i nibbles, __m512i selector, int halves) {
    const __m512i index = _mm512_ternarylogic_epi32(nibbles, _mm512_set1_epi16(15), selector, CODE4_MERGE);
    return halves ? _mm512_permutex2var_epi16(d->low, index, d->high) : _mm512_permutexvar_epi16(index, d->low);
}

CK_INLINE void decode_line(const decoder *d, const uint8_t *line, __m512i selector, __m512i weights[PAIRS], int halves) {
    const __m512i codes = _mm512_loadu_si512(line);
    code4_prefetch(line);
    weights[0] = look_up(d, codes, selector, halves);
    weights[1] = look_up(d, _mm512_srli_epi16(codes, 4), selector, halves);
    weights[2] = look_up(d, _mm512_srli_epi16(codes, 8), selector, halves);
    weights[3] = look_up(d, _mm512_srli_epi16(codes, 12), selector, halves);
}

// What a pass reads in the order of the walk.
typedef struct {
    const char *x;  // the pass's first row
    size_t x_stride;
    const uint8_t *dense;  // as expand_panel leaves it; read only by passes that are `expanded`
} cursor;

CK_INLINE void add_line(const decoder *d, cursor *at, const uint8_t *line, __m512i selector, __m512 sum[2][CODE4_ROWS], int rows,
                        int halves, int expanded) {
    __m512i weights[PAIRS];
    if (expanded) {
        CK_UNROLL
        for (int pair = 0; pair < PAIRS; pair++) weights[pair] = _mm512_load_si512(at->dense + 64 * pair);
        at->dense += DENSE_LINE_BYTES;
    } else decode_line(d, line, selector, weights, halves);
    CK_UNROLL
    for (int pair = 0; pair < PAIRS; pair++) {
        CK_UNROLL
        for (int m = 0; m < rows; m++) {
            const __m512i x = code4_broadcast(at->x + (size_t)m * at->x_stride + 4 * pair);
            sum[pair % 2][m] = _mm512_dpbf16_ps(sum[pair % 2][m], (__m512bh)weights[pair], (__m512bh)x);
        }
    }
    at->x += CODE4_LINE_K * sizeof(uint16_t);
}

// A group's lines into its rows' sums.
CK_INLINE void add_group(const decoder *d, cursor *at, const uint8_t *codes, size_t lines, code4_group group, __m512 *acc,
                         int rows, int halves, int expanded) {
    __m512 sum[2][CODE4_ROWS];
    CK_UNROLL
    for (int m = 0; m < rows; m++) sum[0][m] = sum[1][m] = _mm512_setzero_ps();
    for (size_t line = 0; line < lines; line += 2, codes += 2 * CODE4_LINE_BYTES) {
        add_line(d, at, codes, group.selector, sum, rows, halves, expanded);
        add_line(d, at, codes + CODE4_LINE_BYTES, group.selector, sum, rows, halves, expanded);
    }
    CK_UNROLL
    for (int m = 0; m < rows; m++) acc[m] = _mm512_fmadd_ps(_mm512_add_ps(sum[0][m], sum[1][m]), group.scale, acc[m]);
}

// A panel against `rows` rows of x from m0 on.
CK_INLINE void panel_rows(const ck_gemm_call *call, const ck_code4_weights *w, const decoder *decoder, size_t panel, size_t m0,
                          cursor at, int rows, int halves, int expanded) {
    const code4_scales *const s = &decoder->scales;
    const uint8_t *const panel_codes = code4_panel_codes(w, panel), *const panel_scales = code4_panel_scales(w, panel);
    const size_t groups = code4_run_groups(w);
    __m512 acc[CODE4_ROWS];
    CK_UNROLL
    for (int m = 0; m < rows; m++) acc[m] = _mm512_setzero_ps();
    for (code4_walk walk = code4_walk_of(call, w); code4_next(&walk, w, 1);) {
        const size_t lines = code4_group_lines(&walk, groups);
        const uint8_t *codes = panel_codes + walk.step * CODE4_STEP_BYTES, *scales = code4_run_scales(&walk, s, panel_scales);
        for (size_t g = 0; g < groups; g++, codes += lines * CODE4_LINE_BYTES, scales += s->bytes)
            add_group(decoder, &at, codes, lines, code4_group_of(s, scales), acc, rows, halves, expanded);
    }
    CK_UNROLL
    for (int m = 0; m < rows; m++) ck_finish_scaled_avx512(call, m0 + (size_t)m, panel, acc[m], s->unit, w->tensor_scale);
}

// A panel's weights in the order of the walk.
static void expand_panel(const ck_gemm_call *call, const ck_code4_weights *w, const decoder *d, size_t panel, uint8_t *dense) {
    const code4_scales *const s = &d->scales;
    const uint8_t *const panel_codes = code4_panel_codes(w, panel), *const panel_scales = code4_panel_scales(w, panel);
    const size_t groups = code4_run_groups(w);
    for (code4_walk walk = code4_walk_of(call, w); code4_next(&walk, w, 1);) {
        const size_t lines = code4_group_lines(&walk, groups);
        const uint8_t *line = panel_codes + walk.step * CODE4_STEP_BYTES, *scales = code4_run_scales(&walk, s, panel_scales);
        for (size_t g = 0; g < groups; g++, scales += s->bytes) {
            const code4_group group = code4_group_of(s, scales);
            for (size_t i = 0; i < lines; i++, line += CODE4_LINE_BYTES, dense += DENSE_LINE_BYTES) {
                __m512i weights[PAIRS];
                decode_line(d, line, group.selector, weights, 1);
                for (int pair = 0; pair < PAIRS; pair++) _mm512_store_si512(dense + 64 * pair, weights[pair]);
            }
        }
    }
}

size_t ck_code4_gemm_bf16_avx512bf16_scratch(const ck_gemm_call *call, const ck_code4_weights *w) {
    return call->m < EXPANDED_FROM ? 0 : CK_PANEL_ROWS * ck_code4_x_elements(call->k, &w->view) * sizeof(uint16_t);
}

void ck_code4_gemm_bf16_avx512bf16(const ck_gemm_call *call, const ck_code4_weights *w, size_t panel_begin, size_t panel_end,
                                   void *scratch) {
    const decoder d = decoder_of(w);
    uint8_t *const dense = call->m < EXPANDED_FROM ? NULL : scratch;
    for (size_t panel = panel_begin; panel < panel_end; panel++) {
        if (dense) expand_panel(call, w, &d, panel, dense);
        for (size_t m = 0; m < call->m; m += CODE4_ROWS) {
            const cursor at = {(const char *)call->x + m * call->x_stride, call->x_stride, dense};
            if (dense && code4_pass_rows(call, m) == CODE4_ROWS) {
                panel_rows(call, w, &d, panel, m, at, CODE4_ROWS, 0, 1);
                continue;
            }
#define CK_CALL(R)                                                                                                               \
    if (d.halves) panel_rows(call, w, &d, panel, m, at, R, 1, 0);                                                                \
    else panel_rows(call, w, &d, panel, m, at, R, 0, 0)
            CK_FOR_ROWS_8(code4_pass_rows(call, m), CK_CALL)
#undef CK_CALL
        }
    }
}

CK_ISA_END
#endif
