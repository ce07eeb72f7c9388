// bitmap_gemm of int8 weights, AVX-512 VNNI. VPDPBUSD wants one unsigned operand: x + 128, which the row sums take back:
//
//   sum (x + 128) w = sum x w + 128 * row_sum        all modulo 2^32, and the true sum fits for k up to 131071
//
// Up to 12 rows of x meet expanded weights in registers; for more the panel is expanded once into scratch and multiplied from
// there.
#include "ck_bitmap_gemm.h"
#include "support/isa.h"

#if CK_X86
#include "support/for_rows.h"
#include "support/prefetch.h"

CK_ISA_BEGIN(avx512vnni)
#include "support/store_avx512.h"
#include "support/expand_avx512.h"

enum { ROWS = 12 };

// Four int8 of x, shifted to 0...255, in every lane.
CK_INLINE __m512i broadcast_x(const char *x, size_t quad) {
    int32_t word;
    memcpy(&word, x + 4 * quad, sizeof word);
    return _mm512_set1_epi32(word ^ (int32_t)0x80808080);
}

CK_INLINE __m512i row_sum_times_128(const ck_gemm_call *call, const ck_bitmap_weights *w, size_t panel) {
    const __mmask16 rows = ck_rows_mask(call, panel);
    return _mm512_slli_epi32(_mm512_maskz_loadu_epi32(rows, w->row_sum + panel * CK_PANEL_ROWS), 7);
}

static void expand_panel(const ck_bitmap_weights *w, size_t panel, size_t quads, int8_t *dense) {
    const uint64_t *bitmap = (const uint64_t *)w->bitmap + panel * quads;
    const int8_t *value = (const int8_t *)w->values + w->offsets[panel];
    for (size_t quad = 0; quad < quads; quad++) _mm512_store_si512(dense + 64 * quad, ck_expand_int8(bitmap[quad], &value));
}

// Weights come from the bitmap, or with `expanded` from `dense`, where expand_panel has put them.
CK_INLINE void panel_rows(const ck_gemm_call *call, const ck_bitmap_weights *w, size_t panel, size_t m0, const int8_t *dense,
                          int expanded, int rows) {
    const size_t quads = ck_k_padded(call->k, CK_INT8) / 4;
    const uint64_t *bitmap = (const uint64_t *)w->bitmap + panel * quads;
    const int8_t *value = (const int8_t *)w->values + w->offsets[panel];
    const char *x = (const char *)call->x + m0 * call->x_stride;
    __m512i even[ROWS], odd[ROWS];
    CK_UNROLL
    for (int m = 0; m < rows; m++) even[m] = odd[m] = _mm512_setzero_si512();
    for (size_t quad = 0; quad < quads; quad += 8) {
        _mm_prefetch((const char *)(bitmap + quad) + CK_PREFETCH_BYTES, _MM_HINT_T0);
        for (size_t j = quad; j < quad + 8; j += 2) {
            _mm_prefetch((const char *)value + CK_PREFETCH_BYTES, _MM_HINT_T0);
            const __m512i w0 = expanded ? _mm512_load_si512(dense + 64 * j) : ck_expand_int8(bitmap[j], &value);
            const __m512i w1 = expanded ? _mm512_load_si512(dense + 64 * j + 64) : ck_expand_int8(bitmap[j + 1], &value);
            CK_UNROLL
            for (int m = 0; m < rows; m++) {
                const char *row = x + (size_t)m * call->x_stride;
                even[m] = _mm512_dpbusd_epi32(even[m], broadcast_x(row, j), w0);
                odd[m] = _mm512_dpbusd_epi32(odd[m], broadcast_x(row, j + 1), w1);
            }
        }
    }
    const __m512i shift = row_sum_times_128(call, w, panel);
    CK_UNROLL
    for (int m = 0; m < rows; m++) {
        const __m512i sum = _mm512_sub_epi32(_mm512_add_epi32(even[m], odd[m]), shift);
        ck_finish_int8_avx512(call, w->row_scale, m0 + (size_t)m, panel, sum);
    }
}

size_t ck_bitmap_gemm_int8_avx512vnni_scratch(const ck_gemm_call *call) {
    return call->m <= ROWS ? 0 : CK_PANEL_ROWS * ck_k_padded(call->k, CK_INT8);
}

void ck_bitmap_gemm_int8_avx512vnni(const ck_gemm_call *call, const ck_bitmap_weights *w, size_t panel_begin, size_t panel_end,
                                    void *scratch) {
    for (size_t panel = panel_begin; panel < panel_end; panel++) {
        if (call->m <= ROWS) {
#define CK_CALL(R) panel_rows(call, w, panel, 0, scratch, 0, R)
            CK_FOR_ROWS_12(call->m, CK_CALL)
#undef CK_CALL
            continue;
        }
        expand_panel(w, panel, ck_k_padded(call->k, CK_INT8) / 4, scratch);
        for (size_t m = 0; m < call->m; m += ROWS) {
            const size_t rows = call->m - m < ROWS ? call->m - m : ROWS;
#define CK_CALL(R) panel_rows(call, w, panel, m, scratch, 1, R)
            CK_FOR_ROWS_12(rows, CK_CALL)
#undef CK_CALL
        }
    }
}

CK_ISA_END
#endif
