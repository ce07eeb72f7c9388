// Eight elements at a time; the last n mod 8 under a mask, which loads zeros and stores nothing beyond n.
#include "elementwise/elementwise.h"
#include "support/isa.h"

#if CK_X86
#include <math.h>

CK_ISA_BEGIN(avx2)
#include "support/exp2_avx2.h"

CK_INLINE __m256i first_lanes(size_t count) {
    const __m256i lane = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
    return _mm256_cmpgt_epi32(_mm256_set1_epi32((int)count), lane);
}

CK_INLINE float sum_lanes(__m256 v) {
    __m128 four = _mm_add_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
    four = _mm_add_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_add_ss(four, _mm_movehdup_ps(four)));
}

// Four chains, so that the sum waits for loads and not for itself.
CK_INLINE float sum_of_squares(size_t n, const float *x) {
    __m256 sum[4] = {_mm256_setzero_ps(), _mm256_setzero_ps(), _mm256_setzero_ps(), _mm256_setzero_ps()};
    size_t i = 0;
    for (; i + 32 <= n; i += 32) {
        CK_UNROLL
        for (size_t j = 0; j < 4; j++) {
            const __m256 v = _mm256_loadu_ps(x + i + 8 * j);
            sum[j] = _mm256_fmadd_ps(v, v, sum[j]);
        }
    }
    for (; i < n; i += 8) {
        const __m256 v = n - i >= 8 ? _mm256_loadu_ps(x + i) : _mm256_maskload_ps(x + i, first_lanes(n - i));
        sum[0] = _mm256_fmadd_ps(v, v, sum[0]);
    }
    return sum_lanes(_mm256_add_ps(_mm256_add_ps(sum[0], sum[1]), _mm256_add_ps(sum[2], sum[3])));
}

void ck_rms_norm_avx2(size_t n, const float *x, const float *weight, float epsilon, float *y) {
    const __m256 factor = _mm256_set1_ps(1 / sqrtf(sum_of_squares(n, x) / (float)n + epsilon));
    size_t i = 0;
    for (; i + 8 <= n; i += 8) {
        const __m256 v = _mm256_mul_ps(_mm256_loadu_ps(x + i), factor);
        _mm256_storeu_ps(y + i, _mm256_mul_ps(v, _mm256_loadu_ps(weight + i)));
    }
    if (i < n) {
        const __m256i rest = first_lanes(n - i);
        const __m256 v = _mm256_mul_ps(_mm256_maskload_ps(x + i, rest), factor);
        _mm256_maskstore_ps(y + i, rest, _mm256_mul_ps(v, _mm256_maskload_ps(weight + i, rest)));
    }
}

CK_INLINE __m256 swiglu(__m256 gate, __m256 up) {
    const __m256 power = ck_exp2_avx2(_mm256_mul_ps(gate, _mm256_set1_ps(-1.44269504f)));
    return _mm256_mul_ps(_mm256_div_ps(gate, _mm256_add_ps(power, _mm256_set1_ps(1))), up);
}

void ck_swiglu_avx2(size_t n, float *gate, const float *up) {
    size_t i = 0;
    for (; i + 8 <= n; i += 8) _mm256_storeu_ps(gate + i, swiglu(_mm256_loadu_ps(gate + i), _mm256_loadu_ps(up + i)));
    if (i < n) {
        const __m256i rest = first_lanes(n - i);
        const __m256 y = swiglu(_mm256_maskload_ps(gate + i, rest), _mm256_maskload_ps(up + i, rest));
        _mm256_maskstore_ps(gate + i, rest, y);
    }
}

void ck_add_avx2(size_t n, float *x, const float *delta) {
    size_t i = 0;
    for (; i + 8 <= n; i += 8) _mm256_storeu_ps(x + i, _mm256_add_ps(_mm256_loadu_ps(x + i), _mm256_loadu_ps(delta + i)));
    if (i < n) {
        const __m256i rest = first_lanes(n - i);
        const __m256 sum = _mm256_add_ps(_mm256_maskload_ps(x + i, rest), _mm256_maskload_ps(delta + i, rest));
        _mm256_maskstore_ps(x + i, rest, sum);
    }
}

CK_ISA_END
#endif
