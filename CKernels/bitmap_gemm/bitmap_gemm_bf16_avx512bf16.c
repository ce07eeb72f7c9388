// bitmap_gemm of bf16 weights, AVX-512 BF16. A mask and an expand put 32 weights where a dense panel has them; they meet up to 12
// rows of x in registers and are never written. For more rows the panel is expanded once into scratch and multiplied from there.
#include "ck_bitmap_gemm.h"
#include "support/isa.h"

#if CK_X86
#include "support/for_rows.h"
#include "support/prefetch.h"

CK_ISA_BEGIN(avx512bf16)
#include "support/store_avx512.h"
#include "support/dot_bf16_avx512.h"
#define CK_FOR_DOT_ROWS CK_FOR_ROWS_12
#include "support/dot_bf16_panels.h"
#include "support/expand_avx512.h"

CK_INLINE void fused_panel(const ck_gemm_call *call, const ck_bitmap_weights *w, size_t panel, int rows) {
    const size_t pairs = ck_k_padded(call->k, CK_BF16) / 2;
    const uint32_t *bitmap = (const uint32_t *)w->bitmap + panel * pairs;
    const uint16_t *value = (const uint16_t *)w->values + w->offsets[panel];
    ck_chains acc[CK_DOT_ROWS];
    ck_dot_bf16_clear(acc, rows);
    for (size_t pair = 0; pair < pairs; pair += 16) {
        _mm_prefetch((const char *)(bitmap + pair) + CK_PREFETCH_BYTES, _MM_HINT_T0);
        CK_UNROLL
        for (size_t j = 0; j < 16; j += 2) {
            _mm_prefetch((const char *)value + CK_PREFETCH_BYTES, _MM_HINT_T0);
            const __m512i even = ck_expand_bf16(bitmap[pair + j], &value);
            const __m512i odd = ck_expand_bf16(bitmap[pair + j + 1], &value);
            ck_dot_bf16_step(acc, even, odd, (const char *)call->x, call->x_stride, pair + j, rows);
        }
    }
    ck_dot_bf16_finish(call, acc, 0, panel, rows);
}

CK_INLINE void expand_panel(const ck_bitmap_weights *w, size_t panel, size_t pairs, uint16_t *dense) {
    const uint32_t *bitmap = (const uint32_t *)w->bitmap + panel * pairs;
    const uint16_t *value = (const uint16_t *)w->values + w->offsets[panel];
    for (size_t pair = 0; pair < pairs; pair++)
        _mm512_store_si512(dense + pair * 2 * CK_PANEL_ROWS, ck_expand_bf16(bitmap[pair], &value));
}

#include "bitmap_gemm/bitmap_bf16_panels.h"

size_t ck_bitmap_gemm_bf16_avx512bf16_scratch(const ck_gemm_call *call) { return bitmap_bf16_scratch(call); }

void ck_bitmap_gemm_bf16_avx512bf16(const ck_gemm_call *call, const ck_bitmap_weights *w, size_t panel_begin, size_t panel_end,
                                    void *scratch) {
    bitmap_bf16_panels(call, w, panel_begin, panel_end, scratch);
}

CK_ISA_END
#endif
