// dense_gemm, the definition: sums in double, in order of k, straight from the packed layout.
#include "ck_dense_gemm.h"
#include "support/store.h"

void ck_dense_gemm_scalar(const ck_gemm_call *call, const ck_dense_weights *w, size_t panel_begin, size_t panel_end,
                          void *scratch) {
    (void)scratch;
    const size_t panel_elements = CK_PANEL_ROWS * ck_k_padded(call->k, CK_BF16);
    for (size_t m = 0; m < call->m; m++) {
        const uint16_t *x = (const uint16_t *)((const char *)call->x + m * call->x_stride);
        for (size_t panel = panel_begin; panel < panel_end; panel++) {
            const uint16_t *values = w->values + panel * panel_elements;
            for (size_t row = 0; row < CK_PANEL_ROWS && panel * CK_PANEL_ROWS + row < call->n; row++) {
                const size_t n = panel * CK_PANEL_ROWS + row;
                double sum = 0;
                for (size_t k = 0; k < call->k; k++)
                    sum +=
                        (double)ck_bf16_to_f32(values[(k / 2 * CK_PANEL_ROWS + row) * 2 + k % 2]) * (double)ck_bf16_to_f32(x[k]);
                if (call->bias) sum += (double)call->bias[n];
                ck_store(call, m, n, (float)sum);
            }
        }
    }
}
