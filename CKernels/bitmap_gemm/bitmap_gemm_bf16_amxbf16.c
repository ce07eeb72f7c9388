// bitmap_gemm of bf16 weights, AMX BF16. The loops are in support/gemm_amx.h, the expansion in support/bitmap_tiles_amx.h.
#include "ck_bitmap_gemm.h"
#include "support/isa.h"

#if CK_X86
#include "support/prefetch.h"

CK_ISA_BEGIN(amxbf16)
#include "support/store_avx512.h"
#include "support/expand_avx512.h"

typedef struct amx_weights amx_weights;
#define amx_dot(c, a, b) ck_tile_dot_bf16(c, a, b)
#include "support/gemm_amx.h"

#define BITMAP_MASK                uint32_t
#define BITMAP_VALUE               uint16_t
#define bitmap_expand(mask, value) ck_expand_bf16(mask, value)
#include "support/bitmap_tiles_amx.h"

CK_INLINE void amx_finish(const ck_gemm_call *call, const amx_weights *weights, size_t m, size_t panel, const char *c) {
    (void)weights;
    ck_finish_bf16_avx512(call, m, panel, _mm512_load_ps(c));
}

size_t ck_bitmap_gemm_bf16_amxbf16_scratch(const ck_gemm_call *call) { return amx_scratch_bytes(call); }

void ck_bitmap_gemm_bf16_amxbf16(const ck_gemm_call *call, const ck_bitmap_weights *w, size_t panel_begin, size_t panel_end,
                                 void *scratch) {
    amx_weights weights;
    weights.w = w;
    weights.steps = ck_k_padded(call->k, CK_BF16) / 32;
    amx_run(call, &weights, panel_begin, panel_end, weights.steps, scratch);
}

CK_ISA_END
#endif
