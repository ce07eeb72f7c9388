// Rows of x as the kernels read them: bf16 or int8, padded with zeros to whole steps of k.
#include <math.h>
#include <string.h>
#include "ck_gemm.h"
#include "support/bf16.h"

void ck_x_from_f32(const float *source, size_t columns, size_t padded, uint16_t *target) {
    for (size_t i = 0; i < columns; i++) target[i] = ck_bf16_from_f32(source[i]);
    memset(target + columns, 0, (padded - columns) * sizeof *target);
}

void ck_x_from_bf16(const uint16_t *source, size_t columns, size_t padded, uint16_t *target) {
    memcpy(target, source, columns * sizeof *target);
    memset(target + columns, 0, (padded - columns) * sizeof *target);
}

// The largest magnitude, infinite if any element is NaN or infinite: bit patterns of magnitudes order like the magnitudes, NaN last.
static float magnitude(const float *source, size_t columns) {
    uint32_t largest = 0;
    for (size_t i = 0; i < columns; i++) {
        uint32_t bits;
        memcpy(&bits, source + i, sizeof bits);
        bits &= 0x7FFFFFFFu;
        largest = bits > largest ? bits : largest;
    }
    if (largest > 0x7F800000u) largest = 0x7F800000u;
    float value;
    memcpy(&value, &largest, sizeof value);
    return value;
}

float ck_x_quantize_f32(const float *source, size_t columns, size_t padded, int8_t *target) {
    const float largest = magnitude(source, columns);
    if (largest == 0 || largest == INFINITY) {
        memset(target, 0, padded);
        return largest == 0 ? 0 : NAN;
    }
    // Dividing first keeps a denormal maximum finite: |source / largest| <= 1, so the product stays within 127.
    for (size_t i = 0; i < columns; i++) target[i] = (int8_t)lrintf(source[i] / largest * 127.0f);
    memset(target + columns, 0, padded - columns);
    return largest / 127.0f;
}
