// bitmap_gemm of int8 weights, the definition: exact integer sums, one fused multiply-add at the end.
#include "ck_bitmap_gemm.h"
#include "support/store.h"

void ck_bitmap_gemm_int8_scalar(const ck_gemm_call *call, const ck_bitmap_weights *w, size_t panel_begin, size_t panel_end,
                                void *scratch) {
    (void)scratch;
    const size_t quads = ck_k_padded(call->k, CK_INT8) / 4;
    for (size_t m = 0; m < call->m; m++) {
        const int8_t *x = (const int8_t *)call->x + m * call->x_stride;
        for (size_t panel = panel_begin; panel < panel_end; panel++) {
            const uint64_t *bitmap = (const uint64_t *)w->bitmap + panel * quads;
            const int8_t *value = (const int8_t *)w->values + w->offsets[panel];
            int32_t sum[CK_PANEL_ROWS] = {0};
            for (size_t quad = 0; quad < quads; quad++)
                for (uint64_t mask = bitmap[quad]; mask; mask &= mask - 1) {
                    const unsigned bit = (unsigned)__builtin_ctzll(mask);
                    sum[bit / 4] += *value++ * x[quad * 4 + bit % 4];
                }
            for (size_t row = 0; row < CK_PANEL_ROWS && panel * CK_PANEL_ROWS + row < call->n; row++) {
                const size_t n = panel * CK_PANEL_ROWS + row;
                ck_store(call, m, n, ck_scaled(call, w->row_scale, m, n, sum[row]));
            }
        }
    }
}
