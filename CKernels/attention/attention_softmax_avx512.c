// softmax of a chunk, AVX-512: one pass for the largest score, one for the powers and their sum, in sixteen chains.
#include <math.h>
#include "attention/softmax_visible.h"
#include "support/isa.h"

#if CK_X86
CK_ISA_BEGIN(avx512)
#include "support/exp2_avx512.h"

// A bit for each of tokens `token` ... `token` + 15 that the row sees.
CK_INLINE __mmask16 seen_avx512(const ck_attention_softmax_call *call, size_t row, size_t token, size_t visible) {
    const size_t left = visible - token;
    const uint32_t inside = left < 16 ? (1u << left) - 1 : 0xFFFF;
    return (__mmask16)(inside & ck_softmax_tree(call, row, token));
}

CK_INLINE __m512 swap_avx512(__m512 v, int step) {
    const __m512i lanes = _mm512_castps_si512(v);
    switch (step) {
    case 0: return _mm512_castsi512_ps(_mm512_shuffle_i64x2(lanes, lanes, 0x4E));
    case 1: return _mm512_castsi512_ps(_mm512_shuffle_i64x2(lanes, lanes, 0xB1));
    case 2: return _mm512_castsi512_ps(_mm512_shuffle_epi32(lanes, 0x4E));
    default: return _mm512_castsi512_ps(_mm512_shuffle_epi32(lanes, 0xB1));
    }
}

CK_INLINE float sum_of_lanes_avx512(__m512 v) {
    CK_UNROLL
    for (int step = 0; step < 4; step++) v = _mm512_add_ps(v, swap_avx512(v, step));
    return _mm512_cvtss_f32(v);
}

CK_INLINE float largest_of_lanes_avx512(__m512 v) {
    CK_UNROLL
    for (int step = 0; step < 4; step++) v = _mm512_max_ps(v, swap_avx512(v, step));
    return _mm512_cvtss_f32(v);
}

static void softmax_row_avx512(const ck_attention_softmax_call *call, size_t row) {
    float *scores = call->scores + row * call->stride;
    const size_t padded = (call->tokens + CK_KV_TOKENS - 1) / CK_KV_TOKENS * CK_KV_TOKENS;
    const size_t visible = ck_softmax_visible(call, row), rounded = (visible + 15) / 16 * 16;

    // The maximum returns its second operand when the first is NaN: NaN is left to the sum.
    __m512 most = _mm512_set1_ps(-INFINITY);
    for (size_t t = 0; t < rounded; t += 16)
        most = _mm512_mask_max_ps(most, seen_avx512(call, row, t, visible), _mm512_loadu_ps(scores + t), most);
    const float max = largest_of_lanes_avx512(most);
    const __m512 scale = _mm512_set1_ps(call->scale), largest = _mm512_set1_ps(max);

    __m512 sum = _mm512_setzero_ps();
    for (size_t t = 0; t < rounded; t += 16) {
        const __m512 power = ck_exp2_avx512(_mm512_mul_ps(_mm512_sub_ps(_mm512_loadu_ps(scores + t), largest), scale));
        const __m512 p = _mm512_maskz_mov_ps(seen_avx512(call, row, t, visible), power);
        _mm512_storeu_ps(scores + t, p);
        sum = _mm512_add_ps(sum, p);
    }
    for (size_t t = rounded; t < padded; t += 16) _mm512_storeu_ps(scores + t, _mm512_setzero_ps());
    call->max[row] = max;
    call->sum[row] = sum_of_lanes_avx512(sum);
}

void ck_attention_softmax_avx512(const ck_attention_softmax_call *call) {
    for (size_t row = 0; row < call->rows; row++) softmax_row_avx512(call, row);
}

CK_ISA_END
#endif
