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

static float CK_X(largest_f32)(const float *source, size_t columns) {
    int32_t bits = 0;
    for (size_t i = 0; i < columns; i++) {
        int32_t one;
        memcpy(&one, source + i, sizeof one);
        one &= 0x7FFFFFFF;
        bits = one > bits ? one : bits;
    }
    return CK_X(largest_finite)(bits);
}

static float CK_X(largest_bf16)(const uint16_t *source, size_t columns) {
    int32_t bits = 0;
    for (size_t i = 0; i < columns; i++) {
        const int32_t one = source[i] & 0x7FFF;
        bits = one > bits ? one : bits;
    }
    return CK_X(largest_finite)(bits << 16);
}

// What a step is worth where `largest` is `steps` of them: 0 for a row of zeros, NaN for one that has no such form.
static inline float CK_X(step)(float largest, float steps) { return largest < INFINITY ? largest / steps : NAN; }
static inline int CK_X(has_steps)(float largest) { return largest > 0 && largest < INFINITY; }

// Dividing first keeps a denormal maximum finite: |value / largest| <= 1, so the product stays within `steps`. Adding 1.5 * 2^23
// leaves the nearest integer, ties to even, in the low bits; a loop of this becomes vector code, one of lrintf does not.
static inline int32_t CK_X(nearest)(float value, float largest, float steps) {
    const float shifted = value / largest * steps + 12582912.0f;
    int32_t bits;
    memcpy(&bits, &shifted, sizeof bits);
    return bits;
}

// 256 h + l with l in -128...127; the bits above the integer go.
static inline int8_t CK_X(upper_plane)(int32_t bits) { return (int8_t)(uint8_t)((bits + 128) >> 8); }
static inline int8_t CK_X(lower_plane)(int32_t bits) { return (int8_t)(uint8_t)bits; }

static float CK_X(quantize_f32)(const float *source, size_t columns, size_t padded, int8_t *target) {
    const float largest = CK_X(largest_f32)(source, columns), steps = 127;
    if (!CK_X(has_steps)(largest)) columns = 0;
    for (size_t i = 0; i < columns; i++) target[i] = CK_X(lower_plane)(CK_X(nearest)(source[i], largest, steps));
    memset(target + columns, 0, padded - columns);
    return CK_X(step)(largest, steps);
}

static float CK_X(quantize_bf16)(const uint16_t *source, size_t columns, size_t padded, int8_t *target) {
    const float largest = CK_X(largest_bf16)(source, columns), steps = 127;
    if (!CK_X(has_steps)(largest)) columns = 0;
    for (size_t i = 0; i < columns; i++) target[i] = CK_X(lower_plane)(CK_X(nearest)(ck_bf16_to_f32(source[i]), largest, steps));
    memset(target + columns, 0, padded - columns);
    return CK_X(step)(largest, steps);
}

static float CK_X(quantize16_f32)(const float *source, size_t columns, size_t padded, int8_t *high, int8_t *low) {
    const float largest = CK_X(largest_f32)(source, columns), steps = 32639;
    if (!CK_X(has_steps)(largest)) columns = 0;
    for (size_t i = 0; i < columns; i++) {
        const int32_t bits = CK_X(nearest)(source[i], largest, steps);
        high[i] = CK_X(upper_plane)(bits);
        low[i] = CK_X(lower_plane)(bits);
    }
    memset(high + columns, 0, padded - columns);
    memset(low + columns, 0, padded - columns);
    return CK_X(step)(largest, steps);
}

static float CK_X(quantize16_bf16)(const uint16_t *source, size_t columns, size_t padded, int8_t *high, int8_t *low) {
    const float largest = CK_X(largest_bf16)(source, columns), steps = 32639;
    if (!CK_X(has_steps)(largest)) columns = 0;
    for (size_t i = 0; i < columns; i++) {
        const int32_t bits = CK_X(nearest)(ck_bf16_to_f32(source[i]), largest, steps);
        high[i] = CK_X(upper_plane)(bits);
        low[i] = CK_X(lower_plane)(bits);
    }
    memset(high + columns, 0, padded - columns);
    memset(low + columns, 0, padded - columns);
    return CK_X(step)(largest, steps);
}
