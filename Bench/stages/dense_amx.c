// The shipped dense_gemm_amxbf16, whole or with stages left out.
#include "stages.h"
#include "support/isa.h"

#define ck_dense_gemm_amxbf16         STAGE_KERNEL
#define ck_dense_gemm_amxbf16_scratch STAGE_KERNEL_SCRATCH

CK_ISA_BEGIN(amxbf16)
#include "amx_stages.h"
CK_ISA_END
#include "dense_gemm/dense_gemm_amxbf16.c"

stage_run STAGE_RUN;
void STAGE_RUN(const ck_gemm_call *call, const stage_weights *w, size_t panel_begin, size_t panel_end, void *scratch) {
    STAGE_KERNEL(call, &w->dense, panel_begin, panel_end, scratch);
}
