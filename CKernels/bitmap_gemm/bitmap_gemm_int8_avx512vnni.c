// bitmap_gemm of int8 weights, AVX-512 VNNI. VPDPBUSD wants one unsigned operand: x + 128, which the row sums take back:
//
//   sum (x + 128) w = sum x w + 128 * row_sum        all modulo 2^32, and the true sum fits for k up to 131071
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

CK_INLINE void panel_rows(const ck_gemm_call *call, const ck_bitmap_weights *w, size_t panel, size_t m0, int rows) {
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
            const __m512i w0 = ck_expand_int8(bitmap[j], &value);
            const __m512i w1 = ck_expand_int8(bitmap[j + 1], &value);
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

void ck_bitmap_gemm_int8_avx512vnni(const ck_gemm_call *call, const ck_bitmap_weights *w, size_t panel_begin, size_t panel_end,
                                    void *scratch) {
    (void)scratch;
    for (size_t panel = panel_begin; panel < panel_end; panel++)
        for (size_t m = 0; m < call->m; m += ROWS) {
            const size_t rows = call->m - m < ROWS ? call->m - m : ROWS;
#define CK_CALL(R) panel_rows(call, w, panel, m, R)
            CK_FOR_ROWS_12(rows, CK_CALL)
#undef CK_CALL
        }
}

CK_ISA_END
#endif
