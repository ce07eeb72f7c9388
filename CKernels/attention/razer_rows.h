// RaZeR rows: where codes, scales and exponents of a part lie, and what they stand for. CK_KV_RAZER_KEYS and
// CK_KV_RAZER_VALUES in ck_attention.h draw both parts.
#pragma once
#include <string.h>
#include "attention/kv_rows.h"

enum {
    CK_RAZER_GROUP = 16,  // channels that share a scale
    CK_RAZER_BLOCK = 32,  // channels of a key that are words of a line
    CK_RAZER_STEP = 32,   // tokens of values that kernels look up at a time
    CK_RAZER_LINE_TOKENS = 8,
    CK_RAZER_ONE = 0x38,  // the stored scale 1
    CK_RAZER_NAN = 255,   // the exponent of a row that has no such form
};

// E2M1 and the special value, doubled; those of the negative special value behind those of the positive one.
extern const int8_t ck_razer_doubled[32];
// For each stored scale the 16 values, times the scale: exact in bf16.
extern const uint16_t ck_razer_scaled[256][16];

static inline size_t ck_razer_blocks(size_t dim) { return (dim + CK_RAZER_BLOCK - 1) / CK_RAZER_BLOCK; }
static inline size_t ck_razer_groups(size_t dim) { return (dim + CK_RAZER_GROUP - 1) / CK_RAZER_GROUP; }

static inline int ck_kv_is_razer(ck_kv_type type) { return type == CK_KV_RAZER_KEYS || type == CK_KV_RAZER_VALUES; }

// A key's scale is 2 a block, whatever dim is.
static inline const uint8_t *ck_razer_key_scales(size_t dim, const void *part) {
    return (const uint8_t *)part + CK_KV_TOKENS * CK_RAZER_BLOCK / 2 * ck_razer_blocks(dim);
}

enum { CK_RAZER_VALUE_LINES = 9, CK_RAZER_VALUE_BYTES = CK_RAZER_VALUE_LINES * 64 };  // of a group: codes, then scales

static inline const uint8_t *ck_razer_value_group(const void *part, size_t group) {
    return (const uint8_t *)part + group * CK_RAZER_VALUE_BYTES;
}
static inline const uint8_t *ck_razer_value_scales(const void *part, size_t group) {
    return ck_razer_value_group(part, group) + 8 * 64;
}

static inline size_t ck_razer_part_bytes(ck_kv_type type, size_t dim) {
    const size_t keys = CK_KV_TOKENS * ck_razer_blocks(dim) * (CK_RAZER_BLOCK / 2 + CK_RAZER_BLOCK / CK_RAZER_GROUP);
    return (type == CK_KV_RAZER_KEYS ? keys : ck_razer_groups(dim) * CK_RAZER_VALUE_BYTES) + CK_KV_TOKENS;
}
// One for each token, at the end of the part.
static inline const uint8_t *ck_razer_exponents(ck_kv_type type, size_t dim, const void *part) {
    return (const uint8_t *)part + ck_razer_part_bytes(type, dim) - CK_KV_TOKENS;
}

// 2^(exponent - 127); infinity for CK_RAZER_NAN, whose codes are 0.
static inline float ck_razer_power(uint8_t exponent) {
    const uint32_t bits = (uint32_t)exponent << 23;
    float power;
    memcpy(&power, &bits, sizeof power);
    return power;
}

void ck_razer_write(ck_kv_type type, size_t dim, void *part, size_t slot, const float *row);
void ck_razer_read(ck_kv_type type, size_t dim, const void *part, size_t slot, float *row);
void ck_razer_copy(ck_kv_type type, size_t dim, const void *from, size_t from_slot, void *to, size_t to_slot);
float ck_razer_scale(ck_kv_type type, size_t dim, const void *part, size_t slot, size_t channel);
