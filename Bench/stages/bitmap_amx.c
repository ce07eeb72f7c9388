// The shipped bitmap_gemm_bf16_amxbf16, whole or with stages left out.
#include "stages.h"
#include "support/isa.h"

#define ck_bitmap_gemm_bf16_amxbf16         STAGE_KERNEL
#define ck_bitmap_gemm_bf16_amxbf16_scratch STAGE_KERNEL_SCRATCH

CK_ISA_BEGIN(amxbf16)
#include "amx_stages.h"
CK_ISA_END
#include "bitmap_gemm/bitmap_gemm_bf16_amxbf16.c"

stage_run STAGE_RUN;
void STAGE_RUN(const ck_gemm_call *call, const stage_weights *w, size_t panel_begin, size_t panel_end, void *scratch) {
    STAGE_KERNEL(call, &w->bitmap, panel_begin, panel_end, scratch);
}
