// code4_gemm of int16 rows of x, AVX2. The planes of x are put together again, so that VPMADDWD sums pairs of k exactly as
// dwords; an operand's bytes are its even and its odd k as words:
//
//   operand   k = 0 1 2 3 of 8 rows        x   0 2 1 3 of every 4
//   words     (0 2) by AND, (1 3) by a shift
//
// Two products of planes by VPMADDUBSW, the way of int8, take more operations for every row of x, 4.5 to 4, and their words
// cannot hold WIDE tables. The sum of a group, at most a step of 64 here, fits: 64 * 255 * 32640 < 2^30, and what it starts from
// is below 2^29.
#include "code4_gemm/code4_layout.h"
#include "support/isa.h"

#if CK_X86
#include "support/for_rows.h"
#include "support/prefetch.h"

CK_ISA_BEGIN(avx2)
#include "support/store_avx2.h"
#include "code4_gemm/code4_avx2.h"
#include "code4_gemm/code4_expand_avx2.h"

enum { WIDE_OFFSET = 128 };
typedef int16_t x_element;
#include "code4_gemm/code4_integers_avx2.h"

// The rows of an operand come one after the other: its words, 8 sums and a product fit the registers, all operands' words do not.
CK_INLINE void add_unit(__m256i sum[ROWS], const __m256i weights[OPERANDS], const x_element *x, size_t stride, int rows,
                        mode mode) {
    (void)mode;
    CK_UNROLL
    for (int i = 0; i < OPERANDS; i++) {
        const __m256i even = _mm256_and_si256(weights[i], _mm256_set1_epi16(0xFF)), odd = _mm256_srli_epi16(weights[i], 8);
        CK_UNROLL
        for (int m = 0; m < rows; m++) {
            const x_element *const pairs = x + (size_t)m * stride + 4 * i;
            const __m256i both = _mm256_add_epi32(_mm256_madd_epi16(even, code4_broadcast(pairs)),
                                                  _mm256_madd_epi16(odd, code4_broadcast(pairs + 2)));
            sum[m] = _mm256_add_epi32(sum[m], both);
        }
    }
}

static void join_planes(const int8_t *high, const int8_t *low, size_t elements, int16_t *x) {
    for (size_t i = 0; i < elements; i += 16) {
        const __m256i h = _mm256_cvtepi8_epi16(_mm_loadu_si128((const __m128i *)(high + i)));
        const __m256i l = _mm256_cvtepi8_epi16(_mm_loadu_si128((const __m128i *)(low + i)));
        const __m256i q = _mm256_add_epi16(_mm256_slli_epi16(h, 8), l);
        const __m256i even_odd = _mm256_shufflehi_epi16(_mm256_shufflelo_epi16(q, 0xD8), 0xD8);
        _mm256_storeu_si256((__m256i *)(x + i), even_odd);
    }
}

// Scratch: that of multiply, then the rows of x.
size_t ck_code4_gemm_int16_avx2_scratch(const ck_gemm_call *call, const ck_code4_weights *w) {
    return scratch_bytes(call, w) + call->m * ck_code4_x_elements(call->k, &w->view) * sizeof(x_element);
}

void ck_code4_gemm_int16_avx2(const ck_gemm_call *call, const ck_code4_weights *w, size_t panel_begin, size_t panel_end,
                              void *scratch) {
    const size_t elements = ck_code4_x_elements(call->k, &w->view);
    x_element *const x = (x_element *)((char *)scratch + scratch_bytes(call, w));
    for (size_t m = 0; m < call->m; m++) {
        const int8_t *const high = (const int8_t *)call->x + 2 * m * call->x_stride;
        join_planes(high, high + call->x_stride, elements, x + m * elements);
    }
    multiply(call, w, panel_begin, panel_end, x, elements, scratch);
}

CK_ISA_END
#endif
