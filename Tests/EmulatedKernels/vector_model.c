#include "vector_model.h"
#include "dot_model.h"
#include "support/f16.h"

void ck_vector_model_move(void *target, const void *source, size_t bytes, uint64_t mask) {
    for (size_t i = 0; mask; i += bytes, mask >>= 1)
        if (mask & 1) memcpy((char *)target + i, (const char *)source + i, bytes);
}

void ck_vector_model_expand16(uint16_t target[32], const uint16_t source[32], uint32_t mask) {
    for (size_t i = 0, next = 0; i < 32; i++) target[i] = mask >> i & 1 ? source[next++] : 0;
}

void ck_vector_model_expand8(uint8_t target[64], const uint8_t source[64], uint64_t mask) {
    for (size_t i = 0, next = 0; i < 64; i++) target[i] = mask >> i & 1 ? source[next++] : 0;
}

void ck_vector_model_multishift(uint8_t target[64], const uint8_t control[64], const uint64_t source[8]) {
    for (size_t i = 0; i < 64; i++) {
        const unsigned shift = control[i] & 63;
        target[i] = (uint8_t)(source[i / 8] >> shift | source[i / 8] << (-shift & 63));
    }
}

void ck_vector_model_permute8(uint8_t target[64], const uint8_t index[64], const uint8_t table[64]) {
    for (size_t i = 0; i < 64; i++) target[i] = table[index[i] & 63];
}

void ck_vector_model_permute16(uint16_t target[32], const uint16_t index[32], const uint16_t *table, unsigned entries) {
    for (size_t i = 0; i < 32; i++) target[i] = table[index[i] & (entries - 1)];
}

void ck_vector_model_f16(float target[16], const uint16_t source[16]) {
    for (size_t i = 0; i < 16; i++) target[i] = ck_f16_to_f32(source[i]);
}

// For each of the first 16 predicates, the outcomes that make it true. The other 16 differ in the exceptions that a quiet NaN
// raises.
uint16_t ck_vector_model_compare(const float a[16], const float b[16], int predicate) {
    enum { LESS = 1, EQUAL = 2, GREATER = 4, UNORDERED = 8 };
    static const uint8_t outcomes[16] = {2, 1, 3, 8, 13, 14, 12, 7, 10, 9, 11, 0, 5, 6, 4, 15};
    uint16_t mask = 0;
    for (int i = 0; i < 16; i++) {
        const int outcome = a[i] < b[i] ? LESS : a[i] == b[i] ? EQUAL : a[i] > b[i] ? GREATER : UNORDERED;
        if (outcomes[predicate & 15] & outcome) mask |= (uint16_t)(1u << i);
    }
    return mask;
}

void ck_vector_model_fma(float sum[16], const float a[16], const float b[16]) {
    for (int i = 0; i < 16; i++) sum[i] = fmaf(a[i], b[i], sum[i]);
}

void ck_vector_model_round(float values[16]) {
    for (int i = 0; i < 16; i++) values[i] = rintf(values[i]);
}

void ck_vector_model_to_integers(int32_t target[16], const float source[16]) {
    for (int i = 0; i < 16; i++) target[i] = fabsf(source[i]) < 0x1p31f ? (int32_t)rintf(source[i]) : INT32_MIN;
}

void ck_vector_model_to_bf16(uint16_t target[32], const float a[16], const float b[16]) {
    for (int i = 0; i < 32; i++) target[i] = ck_bf16_from_f32(ck_model_flush(i < 16 ? b[i] : a[i - 16]));
}

void ck_vector_model_dot_bf16(float sum[16], const uint16_t a[32], const uint16_t b[32]) {
    for (int i = 0; i < 16; i++) {
        const float high = ck_model_fma_bf16(sum[i], a[2 * i + 1], b[2 * i + 1]);
        sum[i] = ck_model_fma_bf16(high, a[2 * i], b[2 * i]);
    }
}

void ck_vector_model_dot_s16(uint32_t sum[16], const int16_t a[32], const int16_t b[32]) {
    for (int i = 0; i < 32; i++) sum[i / 2] += (uint32_t)(a[i] * b[i]);
}

void ck_vector_model_dot_u8_s8(uint32_t sum[16], const uint8_t a[64], const int8_t b[64]) {
    for (int i = 0; i < 64; i++) sum[i / 4] += (uint32_t)(a[i] * b[i]);
}
