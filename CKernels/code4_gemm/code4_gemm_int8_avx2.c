// code4_gemm of int8 rows of x, AVX2. The four operands of a unit are multiplied by VPMADDUBSW and add up as words before
// VPMADDWD makes dwords:
//
//   |x (w + 16)| <= 127 * 32,  a pair of k in each of 4 operands: 8 * 127 * 32 = 32512 < 2^15
//
// Of WIDE tables signs move from w to x, whose pairs just fit, 2 * 127 * 127 = 32258 < 2^15, and each operand is made dwords at
// once.
#include "code4_gemm/code4_layout.h"
#include "support/isa.h"

#if CK_X86
#include "support/for_rows.h"
#include "support/prefetch.h"

CK_ISA_BEGIN(avx2)
#include "support/store_avx2.h"
#include "code4_gemm/code4_avx2.h"
#include "code4_gemm/code4_expand_avx2.h"

enum { WIDE_OFFSET = 0 };
typedef int8_t x_element;
#include "code4_gemm/code4_integers_avx2.h"

CK_INLINE __m256i words(__m256i weights, const x_element *x) { return _mm256_maddubs_epi16(weights, code4_broadcast(x)); }
CK_INLINE __m256i dwords(__m256i words) { return _mm256_madd_epi16(words, _mm256_set1_epi16(1)); }
CK_INLINE __m256i wide_dwords(__m256i weights, const x_element *x) {
    return dwords(_mm256_maddubs_epi16(_mm256_abs_epi8(weights), _mm256_sign_epi8(code4_broadcast(x), weights)));
}

CK_INLINE __m256i dot_unit(const __m256i weights[OPERANDS], const x_element *x, mode mode) {
    if (mode == WIDE)
        return _mm256_add_epi32(_mm256_add_epi32(wide_dwords(weights[0], x), wide_dwords(weights[1], x + 4)),
                                _mm256_add_epi32(wide_dwords(weights[2], x + 8), wide_dwords(weights[3], x + 12)));
    return dwords(_mm256_add_epi16(_mm256_add_epi16(words(weights[0], x), words(weights[1], x + 4)),
                                   _mm256_add_epi16(words(weights[2], x + 8), words(weights[3], x + 12))));
}

CK_INLINE void add_unit(__m256i sum[ROWS], const __m256i weights[OPERANDS], const x_element *x, size_t stride, int rows,
                        mode mode) {
    CK_UNROLL
    for (int m = 0; m < rows; m++) sum[m] = _mm256_add_epi32(sum[m], dot_unit(weights, x + (size_t)m * stride, mode));
}

size_t ck_code4_gemm_int8_avx2_scratch(const ck_gemm_call *call, const ck_code4_weights *w) { return scratch_bytes(call, w); }

void ck_code4_gemm_int8_avx2(const ck_gemm_call *call, const ck_code4_weights *w, size_t panel_begin, size_t panel_end,
                             void *scratch) {
    multiply(call, w, panel_begin, panel_end, call->x, call->x_stride, scratch);
}

CK_ISA_END
#endif
