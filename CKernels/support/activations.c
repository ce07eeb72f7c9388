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
static float finite_magnitude(uint32_t largest) {
    if (largest > 0x7F800000u) largest = 0x7F800000u;
    float value;
    memcpy(&value, &largest, sizeof value);
    return value;
}

// The step of a row whose largest magnitude is `largest`; NaN, with zeros written, when there is nothing to quantise.
static float step_or_zeros(float largest, size_t padded, int8_t *target) {
    if (largest != 0 && largest != INFINITY) return largest / 127.0f;
    memset(target, 0, padded);
    return largest == 0 ? 0 : NAN;
}

// Dividing first keeps a denormal maximum finite: |value / largest| <= 1, so the product stays within 127.
static int8_t quantize(float value, float largest) { return (int8_t)lrintf(value / largest * 127.0f); }

float ck_x_quantize_f32(const float *source, size_t columns, size_t padded, int8_t *target) {
    uint32_t bits = 0;
    for (size_t i = 0; i < columns; i++) {
        uint32_t one;
        memcpy(&one, source + i, sizeof one);
        one &= 0x7FFFFFFFu;
        bits = one > bits ? one : bits;
    }
    const float largest = finite_magnitude(bits), step = step_or_zeros(largest, padded, target);
    if (!(largest > 0 && largest < INFINITY)) return step;
    for (size_t i = 0; i < columns; i++) target[i] = quantize(source[i], largest);
    memset(target + columns, 0, padded - columns);
    return step;
}

float ck_x_quantize_bf16(const uint16_t *source, size_t columns, size_t padded, int8_t *target) {
    uint32_t bits = 0;
    for (size_t i = 0; i < columns; i++) bits = (source[i] & 0x7FFFu) > bits ? source[i] & 0x7FFFu : bits;
    const float largest = finite_magnitude(bits << 16), step = step_or_zeros(largest, padded, target);
    if (!(largest > 0 && largest < INFINITY)) return step;
    for (size_t i = 0; i < columns; i++) target[i] = quantize(ck_bf16_to_f32(source[i]), largest);
    memset(target + columns, 0, padded - columns);
    return step;
}
