// The conversions as plain loops: compiled once for the baseline and once for each wider region, to the same bits. Define
// CK_X(name) before, to name the functions.
#include <math.h>
#include <string.h>
#include "ck_gemm.h"
#include "support/bf16.h"

// A fused multiply-add in one region and not in another would round differently.
#pragma STDC FP_CONTRACT OFF

static void CK_X(from_f32)(const float *source, size_t columns, size_t padded, uint16_t *target) {
    for (size_t i = 0; i < columns; i++) target[i] = ck_bf16_from_f32(source[i]);
    memset(target + columns, 0, (padded - columns) * sizeof *target);
}

static inline void CK_X(from_bf16)(const uint16_t *source, size_t columns, size_t padded, uint16_t *target) {
    memcpy(target, source, columns * sizeof *target);
    memset(target + columns, 0, (padded - columns) * sizeof *target);
}

// Largest magnitudes are found on bit patterns, which order like the numbers, infinity and then NaN last; as signed integers,
// because the baseline of x86-64 has no unsigned comparison.
static inline float CK_X(largest_finite)(int32_t bits) {
    const int32_t infinity = 0x7F800000, capped = bits > infinity ? infinity : bits;
    float value;
    memcpy(&value, &capped, sizeof value);
    return value;
}

// The step of a row, or 0 or NaN with zeros written when there is nothing to quantise.
static inline float CK_X(step_or_zeros)(float largest, size_t padded, int8_t *target) {
    if (largest != 0 && largest != INFINITY) return largest / 127.0f;
    memset(target, 0, padded);
    return largest == 0 ? 0 : NAN;
}

// Dividing first keeps a denormal maximum finite: |value / largest| <= 1, so the product stays within 127. Adding 1.5 * 2^23
// leaves the nearest integer, ties to even, in the low bits; a loop of this becomes vector code, one of lrintf does not.
static inline int8_t CK_X(quantize)(float value, float largest) {
    const float shifted = value / largest * 127.0f + 12582912.0f;
    uint32_t bits;
    memcpy(&bits, &shifted, sizeof bits);
    return (int8_t)(uint8_t)bits;
}

static float CK_X(quantize_f32)(const float *source, size_t columns, size_t padded, int8_t *target) {
    int32_t bits = 0;
    for (size_t i = 0; i < columns; i++) {
        int32_t one;
        memcpy(&one, source + i, sizeof one);
        one &= 0x7FFFFFFF;
        bits = one > bits ? one : bits;
    }
    const float largest = CK_X(largest_finite)(bits), step = CK_X(step_or_zeros)(largest, padded, target);
    if (!(largest > 0 && largest < INFINITY)) return step;
    for (size_t i = 0; i < columns; i++) target[i] = CK_X(quantize)(source[i], largest);
    memset(target + columns, 0, padded - columns);
    return step;
}

static float CK_X(quantize_bf16)(const uint16_t *source, size_t columns, size_t padded, int8_t *target) {
    int32_t bits = 0;
    for (size_t i = 0; i < columns; i++) {
        const int32_t one = source[i] & 0x7FFF;
        bits = one > bits ? one : bits;
    }
    const float largest = CK_X(largest_finite)(bits << 16), step = CK_X(step_or_zeros)(largest, padded, target);
    if (!(largest > 0 && largest < INFINITY)) return step;
    for (size_t i = 0; i < columns; i++) target[i] = CK_X(quantize)(ck_bf16_to_f32(source[i]), largest);
    memset(target + columns, 0, padded - columns);
    return step;
}
