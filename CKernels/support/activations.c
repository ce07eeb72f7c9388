// Rows of x as the kernels read them: bf16, int8 or the two planes of int16, padded with zeros to whole steps of k.
#define CK_X(name) name
#include "support/activations.h"
#include "support/activations_avx2.h"
#include "support/isa.h"

void ck_x_from_f32(const float *source, size_t columns, size_t padded, uint16_t *target) {
    from_f32(source, columns, padded, target);
}

void ck_x_from_bf16(const uint16_t *source, size_t columns, size_t padded, uint16_t *target) {
    from_bf16(source, columns, padded, target);
}

float ck_x_quantize_f32(const float *source, size_t columns, size_t padded, int8_t *target) {
    return quantize_f32(source, columns, padded, target);
}

float ck_x_quantize_bf16(const uint16_t *source, size_t columns, size_t padded, int8_t *target) {
    return quantize_bf16(source, columns, padded, target);
}

float ck_x_quantize16_f32(const float *source, size_t columns, size_t padded, int8_t *high, int8_t *low) {
    return quantize16_f32(source, columns, padded, high, low);
}

float ck_x_quantize16_bf16(const uint16_t *source, size_t columns, size_t padded, int8_t *high, int8_t *low) {
    return quantize16_bf16(source, columns, padded, high, low);
}

void ck_x_to_even_odd(uint16_t *row, size_t padded) {
    for (size_t i = 0; i < padded; i += 8) {
        uint16_t eight[8];
        memcpy(eight, row + i, sizeof eight);
        for (size_t j = 0; j < 8; j++) row[i + ck_x_even_odd(j)] = eight[j];
    }
}

static const ck_x_converter converters[] = {
#if CK_X86
    {CK_ISA_AVX2, ck_x_from_f32_avx2, ck_x_from_bf16, ck_x_quantize_f32_avx2, ck_x_quantize_bf16_avx2, ck_x_quantize16_f32_avx2,
     ck_x_quantize16_bf16_avx2, ck_x_to_even_odd_avx2},
#endif
    {CK_ISA_SCALAR, ck_x_from_f32, ck_x_from_bf16, ck_x_quantize_f32, ck_x_quantize_bf16, ck_x_quantize16_f32,
     ck_x_quantize16_bf16, ck_x_to_even_odd},
};

const ck_x_converter *ck_x_converters(size_t *count) {
    *count = sizeof converters / sizeof *converters;
    return converters;
}
