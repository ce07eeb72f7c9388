// dense_gemm, AVX2. Up to 4 rows of x at a time against a panel; for more the panel is read again from the L2 cache.
#include "ck_dense_gemm.h"
#include "support/isa.h"

#if CK_X86
#include "support/for_rows.h"
#include "support/prefetch.h"

CK_ISA_BEGIN(avx2)
#include "support/store_avx2.h"
#include "support/dot_bf16_avx2.h"
#define CK_FOR_DOT_ROWS CK_FOR_ROWS_4
#include "support/dot_bf16_panels.h"

void ck_dense_gemm_avx2(const ck_gemm_call *call, const ck_dense_weights *w, size_t panel_begin, size_t panel_end,
                        void *scratch) {
    (void)scratch;
    const size_t panel_elements = CK_PANEL_ROWS * ck_k_padded(call->k, CK_BF16);
    for (size_t panel = panel_begin; panel < panel_end; panel++)
        ck_dot_bf16_all_rows(call, w->values + panel * panel_elements, panel);
}

CK_ISA_END
#endif
