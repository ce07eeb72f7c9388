// bitmap_gemm of bf16 weights, the definition: walks a panel's bits in order, sums in double.
#include "ck_bitmap_gemm.h"
#include "support/store.h"

void ck_bitmap_gemm_bf16_scalar(const ck_gemm_call *call, const ck_bitmap_weights *w, size_t panel_begin, size_t panel_end,
                                void *scratch) {
    (void)scratch;
    const size_t pairs = ck_k_padded(call->k, CK_BF16) / 2;
    for (size_t m = 0; m < call->m; m++) {
        const uint16_t *x = (const uint16_t *)((const char *)call->x + m * call->x_stride);
        for (size_t panel = panel_begin; panel < panel_end; panel++) {
            const uint32_t *bitmap = (const uint32_t *)w->bitmap + panel * pairs;
            const uint16_t *value = (const uint16_t *)w->values + w->offsets[panel];
            double sum[CK_PANEL_ROWS] = {0};
            for (size_t pair = 0; pair < pairs; pair++)
                for (unsigned bit = 0; bit < 32; bit++) {
                    // A pruned weight is +0, not absent: 0 * NaN and 0 * infinity are NaN here as in dense_gemm.
                    const float weight = bitmap[pair] >> bit & 1 ? ck_bf16_to_f32(*value++) : 0.0f;
                    sum[bit / 2] += (double)weight * (double)ck_bf16_to_f32(x[pair * 2 + bit % 2]);
                }
            for (size_t row = 0; row < CK_PANEL_ROWS && panel * CK_PANEL_ROWS + row < call->n; row++) {
                const size_t n = panel * CK_PANEL_ROWS + row;
                ck_store(call, m, n, (float)(sum[row] + (call->bias ? (double)call->bias[n] : 0)));
            }
        }
    }
}
