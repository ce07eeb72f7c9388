// dense_gemm, AVX2. Up to 4 rows of x at a time against a panel; for more the panel is read again from the L2 cache.
#include "ck_dense_gemm.h"
#include "support/isa.h"

#if CK_X86
#include "support/for_rows.h"
#include "support/prefetch.h"

CK_ISA_BEGIN(avx2)
#include "support/store_avx2.h"
#include "support/dot_bf16_avx2.h"

void ck_dense_gemm_avx2(const ck_gemm_call *call, const ck_dense_weights *w, size_t panel_begin, size_t panel_end,
                        void *scratch) {
    (void)scratch;
    const size_t panel_elements = CK_PANEL_ROWS * ck_k_padded(call->k, CK_BF16);
    for (size_t panel = panel_begin; panel < panel_end; panel++) {
        const uint16_t *values = w->values + panel * panel_elements;
        for (size_t m = 0; m < call->m; m += CK_DOT_ROWS) {
            const size_t rows = call->m - m < CK_DOT_ROWS ? call->m - m : CK_DOT_ROWS;
#define CK_CALL(R) ck_dot_bf16_panel(call, values, m, panel, R)
            CK_FOR_ROWS_4(rows, CK_CALL)
#undef CK_CALL
        }
    }
}

CK_ISA_END
#endif
