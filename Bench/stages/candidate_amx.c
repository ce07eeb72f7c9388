// A loop of candidates.h in place of the shipped kernel's, on the shipped kernel's parts.
#include "stages.h"
#include "support/isa.h"

#define ck_bitmap_gemm_bf16_amxbf16         STAGE_KERNEL
#define ck_bitmap_gemm_bf16_amxbf16_scratch STAGE_KERNEL_SCRATCH
#include "bitmap_gemm/bitmap_gemm_bf16_amxbf16.c"

CK_ISA_BEGIN(amxbf16)
#include "candidates.h"

stage_run STAGE_RUN;
void STAGE_RUN(const ck_gemm_call *call, const stage_weights *w, size_t panel_begin, size_t panel_end, void *scratch) {
    (void)scratch;
    candidate_run(call, &w->bitmap, panel_begin, panel_end);
}
CK_ISA_END
