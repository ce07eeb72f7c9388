// The conversions of support/activations.h, eight elements at a time.
#include "support/activations_avx2.h"
#include "support/isa.h"

#if CK_X86
#include <math.h>
#include "ck_gemm.h"
#include "support/bf16.h"

CK_ISA_BEGIN(avx2)
#define CK_X(name) name##_avx2
#include "support/activations.h"

void ck_x_from_f32_avx2(const float *source, size_t columns, size_t padded, uint16_t *target) {
    from_f32_avx2(source, columns, padded, target);
}

float ck_x_quantize_f32_avx2(const float *source, size_t columns, size_t padded, int8_t *target) {
    return quantize_f32_avx2(source, columns, padded, target);
}

float ck_x_quantize_bf16_avx2(const uint16_t *source, size_t columns, size_t padded, int8_t *target) {
    return quantize_bf16_avx2(source, columns, padded, target);
}

float ck_x_quantize16_f32_avx2(const float *source, size_t columns, size_t padded, int8_t *high, int8_t *low) {
    return quantize16_f32_avx2(source, columns, padded, high, low);
}

float ck_x_quantize16_bf16_avx2(const uint16_t *source, size_t columns, size_t padded, int8_t *high, int8_t *low) {
    return quantize16_bf16_avx2(source, columns, padded, high, low);
}

void ck_x_to_even_odd_avx2(uint16_t *row, size_t padded) {
    const __m128i order = _mm_setr_epi8(0, 1, 4, 5, 8, 9, 12, 13, 2, 3, 6, 7, 10, 11, 14, 15);
    for (size_t i = 0; i < padded; i += 8) {
        __m128i *const eight = (__m128i *)(void *)(row + i);
        _mm_storeu_si128(eight, _mm_shuffle_epi8(_mm_loadu_si128(eight), order));
    }
}

CK_ISA_END
#endif
