// Queries as the AVX2 key kernels read them, and the end of their sums. Include inside an ISA region.
#pragma once

// Rows of `padded` floats, a multiple of 16; in every 16 channels the 8 even ones before the 8 odd ones; zeros from dim on.
CK_INLINE void ck_queries_even_odd_avx2(const ck_attention_queries *queries, size_t dim, size_t padded, float *target) {
    for (size_t row = 0; row < queries->rows; row++, target += padded) {
        const float *q = queries->q + row * queries->stride;
        for (size_t c = 0; c < padded; c += 16) {
            for (size_t i = 0; i < 8; i++) target[c + i] = c + 2 * i < dim ? q[c + 2 * i] : 0;
            for (size_t i = 0; i < 8; i++) target[c + 8 + i] = c + 2 * i + 1 < dim ? q[c + 2 * i + 1] : 0;
        }
    }
}

// The sums of the eight lanes of four vectors, each in the same order.
CK_INLINE __m128 ck_sums4_avx2(__m256 a, __m256 b, __m256 c, __m256 d) {
    const __m256 halves = _mm256_hadd_ps(_mm256_hadd_ps(a, b), _mm256_hadd_ps(c, d));
    return _mm_add_ps(_mm256_castps256_ps128(halves), _mm256_extractf128_ps(halves, 1));
}
