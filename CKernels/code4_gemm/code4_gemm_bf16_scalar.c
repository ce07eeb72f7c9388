// code4_gemm of bf16 rows of x, the definition: each weight looked up, sums in double.
#include "code4_gemm/code4_layout.h"
#include "support/store.h"

static double weight(const ck_code4_weights *w, const uint8_t *codes, const uint8_t *scales, size_t row, size_t k) {
    const uint32_t scale = code4_scale_bits(scales, k / w->group, row, w->scale_type);
    const unsigned code = codes[code4_byte(row, k)] >> code4_shift(k) & 15;
    return (double)ck_bf16_to_f32(w->tables->values[ck_code4_selector(scale, w->scale_type)][code]) *
           (double)ck_code4_scale(scale, w->scale_type, w->tables);
}

void ck_code4_gemm_bf16_scalar(const ck_gemm_call *call, const ck_code4_weights *w, size_t panel_begin, size_t panel_end,
                               void *scratch) {
    for (size_t panel = panel_begin; panel < panel_end; panel++) {
        const uint8_t *const codes = code4_panel_lines(w, panel, scratch), *const scales = code4_panel_scales(w, panel);
        for (size_t row = 0; row < CK_PANEL_ROWS && panel * CK_PANEL_ROWS + row < call->n; row++)
            for (size_t m = 0; m < call->m; m++) {
                const uint16_t *x = (const uint16_t *)((const char *)call->x + m * call->x_stride);
                const size_t n = panel * CK_PANEL_ROWS + row;
                double sum = 0;
                for (size_t k = 0; k < call->k; k++)
                    sum += weight(w, codes, scales, row, code4_packed_input(&w->view, k)) *
                           (double)ck_bf16_to_f32(x[ck_x_even_odd(code4_x_position(&w->view, k))]);
                const double bias = call->bias ? (double)call->bias[n] : 0;
                ck_store(call, m, n, (float)(sum * (double)w->tensor_scale + bias));
            }
    }
}
