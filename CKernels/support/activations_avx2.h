// The conversions of support/activations.h in an AVX2 region.
#pragma once
#include <stddef.h>
#include <stdint.h>

void ck_x_from_f32_avx2(const float *source, size_t columns, size_t padded, uint16_t *target);
float ck_x_quantize_f32_avx2(const float *source, size_t columns, size_t padded, int8_t *target);
float ck_x_quantize_bf16_avx2(const uint16_t *source, size_t columns, size_t padded, int8_t *target);
float ck_x_quantize16_f32_avx2(const float *source, size_t columns, size_t padded, int8_t *high, int8_t *low);
float ck_x_quantize16_bf16_avx2(const uint16_t *source, size_t columns, size_t padded, int8_t *high, int8_t *low);
void ck_x_to_even_odd_avx2(uint16_t *row, size_t padded);
