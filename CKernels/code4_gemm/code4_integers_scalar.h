// code4_gemm of int8 and of int16 rows of x, the definition: the integer sum of each group is exact, the groups are added in
// double. `planes` is 1 or 2.
#pragma once
#include "code4_gemm/code4_layout.h"
#include "support/store.h"

// Element `at` of a row of x that begins at `x`.
static inline int32_t code4_x(const ck_gemm_call *call, const int8_t *x, size_t at, size_t planes) {
    return planes == 1 ? x[at] : 256 * x[at] + x[call->x_stride + at];
}

// Inputs k ... end - 1 of the view, all of one group.
static inline int32_t code4_group_sum(const ck_gemm_call *call, const ck_code4_weights *w, const uint8_t *codes,
                                      const int8_t table[16], size_t row, const int8_t *x, size_t k, size_t end, size_t planes) {
    int32_t sum = 0;
    for (; k < end; k++) {
        const size_t packed = code4_packed_input(&w->view, k);
        const int32_t element = code4_x(call, x, code4_x_position(&w->view, k), planes);
        sum += table[codes[code4_byte(row, packed)] >> code4_shift(packed) & 15] * element;
    }
    return sum;
}

// The inputs of the view from k on that share its group.
static inline size_t code4_group_end(const ck_code4_weights *w, size_t k) {
    const size_t in_block = w->view.kept_k - k % w->view.kept_k;
    const size_t in_group = w->group - code4_packed_input(&w->view, k) % w->group;
    return k + (in_block < in_group ? in_block : in_group);
}

static inline void code4_multiply_integers(const ck_gemm_call *call, const ck_code4_weights *w, size_t panel_begin,
                                           size_t panel_end, void *scratch, size_t planes) {
    for (size_t panel = panel_begin; panel < panel_end; panel++) {
        const uint8_t *const codes = code4_panel_lines(w, panel, scratch), *const scales = code4_panel_scales(w, panel);
        for (size_t row = 0; row < CK_PANEL_ROWS && panel * CK_PANEL_ROWS + row < call->n; row++)
            for (size_t m = 0; m < call->m; m++) {
                const int8_t *x = (const int8_t *)call->x + planes * m * call->x_stride;
                const size_t n = panel * CK_PANEL_ROWS + row;
                double sum = 0;
                for (size_t k = 0, end; k < call->k; k = end) {
                    end = code4_group_end(w, k);
                    const size_t group = code4_packed_input(&w->view, k) / w->group;
                    const uint32_t bits = code4_scale_bits(scales, group, row, w->scale_type);
                    const int8_t *table = w->tables->integers[ck_code4_selector(bits, w->scale_type)];
                    sum += (double)code4_group_sum(call, w, codes, table, row, x, k, end, planes) *
                           (double)ck_code4_scale(bits, w->scale_type, w->tables);
                }
                const double scale = (double)w->tensor_scale * (double)call->x_scale[m];
                ck_store(call, m, n, (float)(sum * scale + (call->bias ? (double)call->bias[n] : 0)));
            }
    }
}
