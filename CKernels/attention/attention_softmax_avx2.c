// softmax of a chunk, AVX2: one pass for the largest score, one for the powers and their sum, in eight chains.
#include <math.h>
#include "attention/softmax_visible.h"
#include "support/isa.h"

#if CK_X86
CK_ISA_BEGIN(avx2)
#include "support/exp2_avx2.h"

// All ones where the row sees tokens `token` ... `token` + 7.
CK_INLINE __m256 seen_avx2(const ck_attention_softmax_call *call, size_t row, size_t token, size_t visible) {
    const __m256i lanes = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
    const int left = (int)visible - (int)token;
    const __m256i inside = _mm256_cmpgt_epi32(_mm256_set1_epi32(left), lanes);
    if (!call->tree) return _mm256_castsi256_ps(inside);
    const __m256i bit = _mm256_sllv_epi32(_mm256_set1_epi32(1), lanes);
    const __m256i tree = _mm256_set1_epi32((int)ck_softmax_tree(call, row, token));
    const __m256i allowed = _mm256_cmpeq_epi32(_mm256_and_si256(tree, bit), bit);
    return _mm256_castsi256_ps(_mm256_and_si256(inside, allowed));
}

CK_INLINE float sum_of_lanes_avx2(__m256 v) {
    const __m128 four = _mm_add_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
    const __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)));
}

CK_INLINE float largest_of_lanes_avx2(__m256 v) {
    const __m128 four = _mm_max_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
    const __m128 two = _mm_max_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_max_ss(two, _mm_movehdup_ps(two)));
}

static void softmax_row_avx2(const ck_attention_softmax_call *call, size_t row) {
    float *scores = call->scores + row * call->stride;
    const size_t padded = (call->tokens + CK_KV_TOKENS - 1) / CK_KV_TOKENS * CK_KV_TOKENS;
    const size_t visible = ck_softmax_visible(call, row), rounded = (visible + 7) / 8 * 8;
    const __m256 nothing = _mm256_set1_ps(-INFINITY);

    // The maximum returns its second operand when the first is NaN: NaN is left to the sum.
    __m256 most = nothing;
    for (size_t t = 0; t < rounded; t += 8)
        most = _mm256_max_ps(_mm256_blendv_ps(nothing, _mm256_loadu_ps(scores + t), seen_avx2(call, row, t, visible)), most);
    const float max = largest_of_lanes_avx2(most);
    const __m256 scale = _mm256_set1_ps(call->scale), largest = _mm256_set1_ps(max);

    __m256 sum = _mm256_setzero_ps();
    for (size_t t = 0; t < rounded; t += 8) {
        const __m256 power = ck_exp2_avx2(_mm256_mul_ps(_mm256_sub_ps(_mm256_loadu_ps(scores + t), largest), scale));
        const __m256 p = _mm256_and_ps(power, seen_avx2(call, row, t, visible));
        _mm256_storeu_ps(scores + t, p);
        sum = _mm256_add_ps(sum, p);
    }
    for (size_t t = rounded; t < padded; t++) scores[t] = 0;
    call->max[row] = max;
    call->sum[row] = sum_of_lanes_avx2(sum);
}

void ck_attention_softmax_avx2(const ck_attention_softmax_call *call) {
    for (size_t row = 0; row < call->rows; row++) softmax_row_avx2(call, row);
}

CK_ISA_END
#endif
