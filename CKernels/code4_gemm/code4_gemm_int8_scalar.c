// code4_gemm of int8 rows of x, the definition: the integer sum of each group is exact, the groups are added in double.
#include "code4_gemm/code4_layout.h"
#include "support/store.h"

// Inputs k ... end - 1 of the view, all of one group.
static int32_t group_sum(const ck_code4_weights *w, const uint8_t *codes, const int8_t table[16], size_t row, const int8_t *x,
                         size_t k, size_t end) {
    int32_t sum = 0;
    for (; k < end; k++) {
        const size_t packed = code4_packed_input(&w->view, k);
        sum += table[codes[code4_byte(row, packed)] >> code4_shift(packed) & 15] * x[code4_x_position(&w->view, k)];
    }
    return sum;
}

// The inputs of the view from k on that share its group.
static size_t group_end(const ck_code4_weights *w, size_t k) {
    const size_t in_block = w->view.kept_k - k % w->view.kept_k;
    const size_t in_group = w->group - code4_packed_input(&w->view, k) % w->group;
    return k + (in_block < in_group ? in_block : in_group);
}

void ck_code4_gemm_int8_scalar(const ck_gemm_call *call, const ck_code4_weights *w, size_t panel_begin, size_t panel_end,
                               void *scratch) {
    for (size_t panel = panel_begin; panel < panel_end; panel++) {
        const uint8_t *const codes = code4_panel_lines(w, panel, scratch), *const scales = code4_panel_scales(w, panel);
        for (size_t row = 0; row < CK_PANEL_ROWS && panel * CK_PANEL_ROWS + row < call->n; row++)
            for (size_t m = 0; m < call->m; m++) {
                const int8_t *x = (const int8_t *)call->x + m * call->x_stride;
                const size_t n = panel * CK_PANEL_ROWS + row;
                double sum = 0;
                for (size_t k = 0, end; k < call->k; k = end) {
                    end = group_end(w, k);
                    const size_t group = code4_packed_input(&w->view, k) / w->group;
                    const uint32_t bits = code4_scale_bits(scales, group, row, w->scale_type);
                    const int8_t *table = w->tables->integers[ck_code4_selector(bits, w->scale_type)];
                    sum += (double)group_sum(w, codes, table, row, x, k, end) *
                           (double)ck_code4_scale(bits, w->scale_type, w->tables);
                }
                const double scale = (double)w->tensor_scale * (double)call->x_scale[m];
                ck_store(call, m, n, (float)(sum * scale + (call->bias ? (double)call->bias[n] : 0)));
            }
    }
}
