// Numbers as 16-bit integers of one step, by the rule of ck_x_quantize16_f32: queries, and the weights of int8 values. Plain
// loops that the compiler turns into vector code: include inside an ISA region, after kv_rows.h, math.h and isa.h.
#pragma once

// Channels whose products with int8 an int32 holds: 512 * 127 * 32639 < 2^31.
enum { CK_INT16_CHANNELS = 512, CK_INT16_STEPS = 32639 };

// Writes `count` integers and zeros up to `padded`. Returns what a step is worth: NaN, with integers 0, where a number is NaN or
// infinite; 0 where all are 0.
CK_INLINE float ck_int16_row(const float *source, size_t count, size_t padded, int16_t *target) {
#pragma STDC FP_CONTRACT OFF
    int32_t most = 0;
    for (size_t i = 0; i < count; i++) {
        int32_t bits;
        memcpy(&bits, source + i, sizeof bits);
        bits &= 0x7FFFFFFF;
        most = bits > most ? bits : most;
    }
    if (most == 0 || most >= 0x7F800000) {
        memset(target, 0, padded * sizeof *target);
        return most == 0 ? 0 : NAN;
    }
    float largest;
    memcpy(&largest, &most, sizeof largest);
    // Adding 1.5 * 2^23 leaves the nearest integer, ties to even, in the low bits.
    for (size_t i = 0; i < count; i++) {
        const float shifted = source[i] / largest * CK_INT16_STEPS + 12582912.0f;
        int32_t bits;
        memcpy(&bits, &shifted, sizeof bits);
        target[i] = (int16_t)(uint16_t)bits;
    }
    memset(target + count, 0, (padded - count) * sizeof *target);
    return largest / CK_INT16_STEPS;
}

// Queries as integers, and what a step of each is worth.
typedef struct {
    const int16_t *q;
    const float *steps;
    size_t elements;  // of a row, padded
} ck_int16_queries;

// All rows of `queries`, in scratch of rows * (2 * elements + 4) bytes.
CK_INLINE ck_int16_queries ck_int16_queries_of(const ck_attention_queries *queries, size_t dim, void *scratch) {
    const size_t elements = ck_kv_row_bytes(CK_KV_INT8, dim);
    int16_t *q = scratch;
    float *steps = (float *)(q + queries->rows * elements);
    for (size_t m = 0; m < queries->rows; m++)
        steps[m] = ck_int16_row(queries->q + m * queries->stride, dim, elements, q + m * elements);
    return (ck_int16_queries){q, steps, elements};
}

// Those from row `first` on.
CK_INLINE ck_int16_queries ck_int16_queries_from(const ck_int16_queries *queries, size_t first) {
    return (ck_int16_queries){queries->q + first * queries->elements, queries->steps + first, queries->elements};
}

// The weights of the tokens of a part: p times what a step of each value is worth, as integers of one step of their own.
CK_INLINE float ck_int16_weights(const float *p, const float *scales, size_t tokens, int16_t target[CK_KV_TOKENS]) {
#pragma STDC FP_CONTRACT OFF
    float weights[CK_KV_TOKENS];
    for (size_t t = 0; t < CK_KV_TOKENS; t++) weights[t] = t < tokens ? p[t] * scales[t] : 0;
    return ck_int16_row(weights, CK_KV_TOKENS, CK_KV_TOKENS, target);
}

// 256 h + l with h, l in -128 ... 127.
CK_INLINE int8_t ck_int16_upper(int16_t value) { return (int8_t)((value + 128) >> 8); }
CK_INLINE int8_t ck_int16_lower(int16_t value) { return (int8_t)(uint8_t)value; }
