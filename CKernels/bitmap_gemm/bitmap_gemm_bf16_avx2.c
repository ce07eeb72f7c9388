// bitmap_gemm of bf16 weights, AVX2: 8 weights at a time through a table of byte shuffles. Four rows of x at a time; for more the
// panel is expanded once into scratch and multiplied from there.
#include "ck_bitmap_gemm.h"
#include "support/isa.h"

#if CK_X86
#include "support/for_rows.h"
#include "support/prefetch.h"

CK_ISA_BEGIN(avx2)
#include "support/store_avx2.h"
#include "support/dot_bf16_avx2.h"
#define CK_FOR_DOT_ROWS CK_FOR_ROWS_4
#include "support/dot_bf16_panels.h"
#include "support/expand_avx2.h"

static const uint8_t shuffles[256][16] = {MASKS_256(EXPAND_WORDS)};

CK_INLINE __m128i expand8(uint32_t mask, const uint16_t **value) {
    const __m128i packed = _mm_loadu_si128((const __m128i *)*value);
    *value += __builtin_popcount(mask);
    return _mm_shuffle_epi8(packed, _mm_loadu_si128((const __m128i *)shuffles[mask]));
}

CK_INLINE __m256i expand16(uint32_t mask, const uint16_t **value) {
    const __m128i low = expand8(mask & 0xFF, value);
    return _mm256_inserti128_si256(_mm256_castsi128_si256(low), expand8(mask >> 8 & 0xFF, value), 1);
}

CK_INLINE void fused_panel(const ck_gemm_call *call, const ck_bitmap_weights *w, size_t panel, int rows) {
    const size_t pairs = ck_k_padded(call->k, CK_BF16) / 2;
    const uint32_t *bitmap = (const uint32_t *)w->bitmap + panel * pairs;
    const uint16_t *value = (const uint16_t *)w->values + w->offsets[panel];
    ck_chains acc[CK_DOT_ROWS];
    ck_dot_bf16_clear(acc, rows);
    for (size_t pair = 0; pair < pairs; pair++) {
        _mm_prefetch((const char *)value + CK_PREFETCH_BYTES, _MM_HINT_T0);
        const __m256i low = expand16(bitmap[pair] & 0xFFFF, &value);
        const __m256i high = expand16(bitmap[pair] >> 16, &value);
        ck_dot_bf16_step(acc, low, high, (const char *)call->x, call->x_stride, pair, rows);
    }
    ck_dot_bf16_finish(call, acc, 0, panel, rows);
}

CK_INLINE void expand_panel(const ck_bitmap_weights *w, size_t panel, size_t pairs, uint16_t *dense) {
    const uint32_t *bitmap = (const uint32_t *)w->bitmap + panel * pairs;
    const uint16_t *value = (const uint16_t *)w->values + w->offsets[panel];
    for (size_t pair = 0; pair < pairs; pair++) {
        __m256i *at = (__m256i *)(dense + pair * 2 * CK_PANEL_ROWS);
        _mm256_store_si256(at, expand16(bitmap[pair] & 0xFFFF, &value));
        _mm256_store_si256(at + 1, expand16(bitmap[pair] >> 16, &value));
    }
}

#include "bitmap_gemm/bitmap_bf16_panels.h"

size_t ck_bitmap_gemm_bf16_avx2_scratch(const ck_gemm_call *call) { return bitmap_bf16_scratch(call); }

void ck_bitmap_gemm_bf16_avx2(const ck_gemm_call *call, const ck_bitmap_weights *w, size_t panel_begin, size_t panel_end,
                              void *scratch) {
    bitmap_bf16_panels(call, w, panel_begin, panel_end, scratch);
}

CK_ISA_END
#endif
