// The shipped bitmap_gemm_bf16_avx2, whole or with stages left out: for machines without AMX.
#include "stages.h"
#include "support/isa.h"
#include "support/prefetch.h"

#define ck_bitmap_gemm_bf16_avx2         STAGE_KERNEL
#define ck_bitmap_gemm_bf16_avx2_scratch STAGE_KERNEL_SCRATCH

CK_ISA_BEGIN(avx2)
#include "support/store_avx2.h"
#include "support/dot_bf16_avx2.h"
CK_ISA_END

#if NO_PREFETCH
#undef _mm_prefetch
#define _mm_prefetch(address, hint) ((void)(address))
#endif
// The weights have to arrive in registers all the same.
#if NO_MULTIPLY
#define ck_dot_bf16_step(acc, low, high, x, stride, pair, rows)                                                                  \
    do {                                                                                                                         \
        const __m256i first = low, second = high;                                                                                \
        __asm__ volatile("" ::"x"(first), "x"(second));                                                                          \
    } while (0)
#elif NO_X
#define ck_dot_bf16_step(acc, low, high, x, stride, pair, rows)                                                                  \
    ck_dot_bf16_step(acc, low, high, stage_fixed_tile, 64, (pair) % 16, rows)
#endif
// Values are loaded and used as they lie.
#if NO_EXPAND
#define _mm_shuffle_epi8(packed, order) (packed)
#endif
#include "bitmap_gemm/bitmap_gemm_bf16_avx2.c"

stage_run STAGE_RUN;
void STAGE_RUN(const ck_gemm_call *call, const stage_weights *w, size_t panel_begin, size_t panel_end, void *scratch) {
    STAGE_KERNEL(call, &w->bitmap, panel_begin, panel_end, scratch);
}
