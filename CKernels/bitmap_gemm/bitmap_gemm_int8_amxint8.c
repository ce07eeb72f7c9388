// bitmap_gemm of int8 weights, AMX INT8: signed by signed, exact. The loops are in support/gemm_amx.h, the expansion in
// support/bitmap_tiles_amx.h.
#include "ck_bitmap_gemm.h"
#include "support/isa.h"

#if CK_X86
#include "support/prefetch.h"

CK_ISA_BEGIN(amxint8)
#include "support/store_avx512.h"
#include "support/expand_avx512.h"

typedef struct amx_weights amx_weights;
#define amx_dot(c, a, b) ck_tile_dot_int8(c, a, b)
#include "support/gemm_amx.h"

#define BITMAP_MASK                uint64_t
#define BITMAP_VALUE               int8_t
#define bitmap_expand(mask, value) ck_expand_int8(mask, value)
#include "support/bitmap_tiles_amx.h"

CK_INLINE void amx_finish(const ck_gemm_call *call, const amx_weights *weights, size_t m, size_t panel, const char *c) {
    ck_finish_int8_avx512(call, weights->w->row_scale, m, panel, _mm512_load_si512(c));
}

size_t ck_bitmap_gemm_int8_amxint8_scratch(const ck_gemm_call *call) { return amx_scratch_bytes(call); }

void ck_bitmap_gemm_int8_amxint8(const ck_gemm_call *call, const ck_bitmap_weights *w, size_t panel_begin, size_t panel_end,
                                 void *scratch) {
    amx_weights weights;
    weights.w = w;
    weights.steps = ck_k_padded(call->k, CK_INT8) / 64;
    amx_run(call, &weights, panel_begin, panel_end, weights.steps, scratch);
}

CK_ISA_END
#endif
