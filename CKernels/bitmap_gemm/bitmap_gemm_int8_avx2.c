// bitmap_gemm of int8 weights, AVX2. Bytes widen to words and VPMADDWD sums pairs exactly (VPMADDUBSW would saturate):
//
//   4 rows x 4 k of W  = 16 words = one ymm      x: 4 k, repeated for each row      acc: 4 rows x 2 dwords, added at the end
#include "ck_bitmap_gemm.h"
#include "support/isa.h"

#if CK_X86
#include "support/for_rows.h"
#include "support/prefetch.h"

CK_ISA_BEGIN(avx2)
#include "support/store_avx2.h"
#include "support/expand_avx2.h"

enum { ROWS = 2 };

static const uint8_t shuffles[256][8] = {MASKS_256(EXPAND_BYTES)};

// Two rows x 4 k from 8 bits of mask, in the low 8 bytes.
CK_INLINE __m128i expand8(uint64_t mask, const int8_t **value) {
    const __m128i packed = _mm_loadl_epi64((const __m128i *)*value);
    *value += __builtin_popcountll(mask);
    return _mm_shuffle_epi8(packed, _mm_loadl_epi64((const __m128i *)shuffles[mask]));
}

// Four rows x 4 k from 16 bits of mask.
CK_INLINE __m128i expand16(uint64_t mask, const int8_t **value) {
    const __m128i low = expand8(mask & 0xFF, value);
    return _mm_unpacklo_epi64(low, expand8(mask >> 8 & 0xFF, value));
}

static void expand_panel(const ck_bitmap_weights *w, size_t panel, size_t quads, int8_t *dense) {
    const uint64_t *bitmap = (const uint64_t *)w->bitmap + panel * quads;
    const int8_t *value = (const int8_t *)w->values + w->offsets[panel];
    for (size_t quad = 0; quad < quads; quad++)
        for (int part = 0; part < 4; part++)
            _mm_store_si128((__m128i *)(dense + 64 * quad) + part, expand16(bitmap[quad] >> 16 * part & 0xFFFF, &value));
}

CK_INLINE __m256i broadcast_x(const char *x, size_t quad) {
    int32_t word;
    memcpy(&word, x + 4 * quad, sizeof word);
    return _mm256_broadcastq_epi64(_mm_cvtepi8_epi16(_mm_cvtsi32_si128(word)));
}

// Rows 0...7 or 8...15 from two accumulators of 4 rows x 2 dwords; the horizontal add leaves quarters crossed.
CK_INLINE __m256i sum_pairs(__m256i rows0123, __m256i rows4567) {
    return _mm256_permute4x64_epi64(_mm256_hadd_epi32(rows0123, rows4567), 0xD8);
}

// Weights come from the bitmap, or with `expanded` from `dense`, where expand_panel has put them.
CK_INLINE void panel_rows(const ck_gemm_call *call, const ck_bitmap_weights *w, size_t panel, size_t m0, const int8_t *dense,
                          int expanded, int rows) {
    const size_t quads = ck_k_padded(call->k, CK_INT8) / 4;
    const uint64_t *bitmap = (const uint64_t *)w->bitmap + panel * quads;
    const int8_t *value = (const int8_t *)w->values + w->offsets[panel];
    const char *x = (const char *)call->x + m0 * call->x_stride;
    __m256i acc[ROWS][4];
    CK_UNROLL
    for (int m = 0; m < rows; m++) {
        CK_UNROLL
        for (int part = 0; part < 4; part++) acc[m][part] = _mm256_setzero_si256();
    }
    for (size_t quad = 0; quad < quads; quad++) {
        _mm_prefetch((const char *)value + CK_PREFETCH_BYTES, _MM_HINT_T0);
        CK_UNROLL
        for (int part = 0; part < 4; part++) {
            const __m128i bytes = expanded ? _mm_load_si128((const __m128i *)(dense + 64 * quad) + part)
                                           : expand16(bitmap[quad] >> 16 * part & 0xFFFF, &value);
            const __m256i weights = _mm256_cvtepi8_epi16(bytes);
            CK_UNROLL
            for (int m = 0; m < rows; m++) {
                const __m256i products = _mm256_madd_epi16(weights, broadcast_x(x + (size_t)m * call->x_stride, quad));
                acc[m][part] = _mm256_add_epi32(acc[m][part], products);
            }
        }
    }
    CK_UNROLL
    for (int m = 0; m < rows; m++) {
        CK_UNROLL
        for (size_t half = 0; half < 2; half++) {
            const __m256 sum = _mm256_cvtepi32_ps(sum_pairs(acc[m][2 * half], acc[m][2 * half + 1]));
            const __m256 row_scale = ck_load8_avx2(call, w->row_scale, panel, half);
            const __m256 scale = _mm256_mul_ps(_mm256_set1_ps(call->x_scale[m0 + (size_t)m]), row_scale);
            const __m256 bias = ck_load8_avx2(call, call->bias, panel, half);
            ck_store8_avx2(call, m0 + (size_t)m, panel, half, _mm256_fmadd_ps(sum, scale, bias));
        }
    }
}

size_t ck_bitmap_gemm_int8_avx2_scratch(const ck_gemm_call *call) {
    return call->m <= ROWS ? 0 : CK_PANEL_ROWS * ck_k_padded(call->k, CK_INT8);
}

void ck_bitmap_gemm_int8_avx2(const ck_gemm_call *call, const ck_bitmap_weights *w, size_t panel_begin, size_t panel_end,
                              void *scratch) {
    for (size_t panel = panel_begin; panel < panel_end; panel++) {
        if (call->m == 1) panel_rows(call, w, panel, 0, scratch, 0, 1);
        if (call->m == 2) panel_rows(call, w, panel, 0, scratch, 0, 2);
        if (call->m <= ROWS) continue;
        expand_panel(w, panel, ck_k_padded(call->k, CK_INT8) / 4, scratch);
        size_t m = 0;
        for (; m + ROWS <= call->m; m += ROWS) panel_rows(call, w, panel, m, scratch, 1, ROWS);
        if (m < call->m) panel_rows(call, w, panel, m, scratch, 1, 1);
    }
}

CK_ISA_END
#endif
