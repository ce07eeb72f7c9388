// Writing, reading and copying single tokens of a RaZeR part (arXiv 2501.04052), and the tables of its codes.
#include <math.h>
#include "attention/razer_rows.h"

#pragma STDC FP_CONTRACT OFF

// MARK: Tables

const int8_t ck_razer_doubled[32] = {0, 1, 2, 3, 4, 6, 8, 12, 10,  -1, -2, -3, -4, -6, -8, -12,
                                     0, 1, 2, 3, 4, 6, 8, 12, -10, -1, -2, -3, -4, -6, -8, -12};

// bf16 of the doubled value v (1 ... 12) times 8 + m, in units of 2^(e - 11): at most 180, 7 significant bits.
#define TOP(n)            ((n) > 127 ? 7 : (n) > 63 ? 6 : (n) > 31 ? 5 : (n) > 15 ? 4 : 3)
#define BITS(sign, n, e)  ((sign) << 15 | (127 + TOP(n) + (e) - 11) << 7 | ((n) << (7 - TOP(n)) & 0x7F))
#define VALUE(sign, v, s) (uint16_t)BITS(sign, (v) * (8 + ((s) & 7)), ((s) >> 3 & 15))
#define HALF(sign, zero, s)                                                                                                      \
    zero, VALUE(sign, 1, s), VALUE(sign, 2, s), VALUE(sign, 3, s), VALUE(sign, 4, s), VALUE(sign, 6, s), VALUE(sign, 8, s),      \
        VALUE(sign, 12, s)
#define ROW(s)    {HALF(0, 0, s), HALF(1, VALUE((s) >> 7, 10, s), s)}
#define ROWS4(s)  ROW(s), ROW((s) + 1), ROW((s) + 2), ROW((s) + 3)
#define ROWS16(s) ROWS4(s), ROWS4((s) + 4), ROWS4((s) + 8), ROWS4((s) + 12)
#define ROWS64(s) ROWS16(s), ROWS16((s) + 16), ROWS16((s) + 32), ROWS16((s) + 48)
_Alignas(64) const uint16_t ck_razer_scaled[256][16] = {ROWS64(0), ROWS64(64), ROWS64(128), ROWS64(192)};

// MARK: Quantising

enum { SMALLEST_SCALE = 0x08, LARGEST_SCALE = 0x7E, NEGATIVE_SPECIAL = 0x80, SPECIAL = 8 };

// E4M3 without denormals: 2^(e - 7) (1 + m / 8).
static float scale_of(uint8_t code) {
    const uint32_t bits = ((uint32_t)(code & 0x7F) << 20) + (120u << 23);
    float scale;
    memcpy(&scale, &bits, sizeof scale);
    return scale;
}

// To nearest, ties away from zero, within what groups may have.
static uint8_t scale_code(float value) {
    int32_t bits;
    memcpy(&bits, &value, sizeof bits);
    const int32_t code = ((bits + (1 << 19)) >> 20) - (120 << 3);
    return (uint8_t)(code < SMALLEST_SCALE ? SMALLEST_SCALE : code > LARGEST_SCALE ? LARGEST_SCALE : code);
}

static float largest_magnitude(const float *row, size_t count) {
    int32_t most = 0;
    for (size_t i = 0; i < count; i++) {
        int32_t bits;
        memcpy(&bits, row + i, sizeof bits);
        bits &= 0x7FFFFFFF;
        most = bits > most ? bits : most;
    }
    float largest;
    memcpy(&largest, &most, sizeof largest);
    return largest;
}

// The exponent that puts the scale of the row's largest element into 128 ... 256, where rounding cannot overflow.
static uint8_t exponent_of(float largest) {
    if (!(largest < INFINITY)) return CK_RAZER_NAN;
    const float scale = largest / 6;
    int32_t bits;
    memcpy(&bits, &scale, sizeof bits);
    const int32_t exponent = (bits >> 23) - 7;
    return (uint8_t)(exponent < 1 ? 1 : exponent);
}

// Codes of a group, and its scale. y is in units of the row's power of two; all comparisons are with multiples of the scale by
// numbers of 4 bits, hence exact. Ties go away from zero, between special values to the positive one.
static uint8_t quantize_group(const float y[CK_RAZER_GROUP], uint8_t codes[CK_RAZER_GROUP]) {
    const uint8_t code = scale_code(largest_magnitude(y, CK_RAZER_GROUP) / 6);
    const float scale = scale_of(code);
    float gain[CK_RAZER_GROUP];
    uint8_t near_special[CK_RAZER_GROUP];
    for (size_t i = 0; i < CK_RAZER_GROUP; i++) {
        const float a = fabsf(y[i]);
        const int level = (a >= 0.25f * scale) + (a >= 0.75f * scale) + (a >= 1.25f * scale) + (a >= 1.75f * scale) +
                          (a >= 2.5f * scale) + (a >= 3.5f * scale) + (a >= 5 * scale);
        const int negative = y[i] < 0 && level > 0;
        codes[i] = (uint8_t)(level | negative << 3);
        near_special[i] = (uint8_t)(a >= 4.5f * scale && a < 5.5f * scale);
        const float plain = (a >= 5 * scale ? 6 : 4) * scale - a, special = 5 * scale - a;
        gain[i] = near_special[i] ? plain * plain - special * special : 0;
    }
    float positive_gain = 0, negative_gain = 0;
    for (size_t i = 0; i < CK_RAZER_GROUP; i++) {
        if (y[i] < 0) negative_gain += gain[i];
        else positive_gain += gain[i];
    }
    const int negative = negative_gain > positive_gain;
    for (size_t i = 0; i < CK_RAZER_GROUP; i++)
        if (near_special[i] && (y[i] < 0) == negative) codes[i] = SPECIAL;
    return (uint8_t)(code | (negative ? NEGATIVE_SPECIAL : 0));
}

// MARK: Places

static uint8_t key_code(size_t dim, const uint8_t *part, size_t slot, size_t channel) {
    const size_t block = slot * ck_razer_blocks(dim) + channel / CK_RAZER_BLOCK;
    const size_t nibble = block % 4, byte = block / 4 * 64 + channel % CK_RAZER_BLOCK * 2 + nibble / 2;
    return part[byte] >> nibble % 2 * 4 & 15;
}

static void set_key_code(size_t dim, uint8_t *part, size_t slot, size_t channel, uint8_t code) {
    const size_t block = slot * ck_razer_blocks(dim) + channel / CK_RAZER_BLOCK;
    const size_t nibble = block % 4, byte = block / 4 * 64 + channel % CK_RAZER_BLOCK * 2 + nibble / 2, shift = nibble % 2 * 4;
    part[byte] = (uint8_t)((part[byte] & ~(15u << shift)) | (unsigned)code << shift);
}

// The byte that holds a value's code, and which nibble of it is the code.
static size_t value_byte(size_t slot, size_t channel) {
    const size_t line = slot / CK_RAZER_LINE_TOKENS, token = slot % CK_RAZER_LINE_TOKENS;
    return channel / CK_RAZER_GROUP * CK_RAZER_VALUE_BYTES + line * 64 + channel % CK_RAZER_GROUP * 4 + token % 2 * 2 + token / 4;
}
static size_t value_shift(size_t slot) { return slot % 4 / 2 * 4; }

static const uint8_t *scale_place(ck_kv_type type, size_t dim, const void *part, size_t slot, size_t group) {
    if (type == CK_KV_RAZER_VALUES) return ck_razer_value_scales(part, group) + slot;
    return ck_razer_key_scales(dim, part) + slot * 2 * ck_razer_blocks(dim) + group;
}

static uint8_t code_at(ck_kv_type type, size_t dim, const void *part, size_t slot, size_t channel) {
    if (type == CK_KV_RAZER_KEYS) return key_code(dim, part, slot, channel);
    return ((const uint8_t *)part)[value_byte(slot, channel)] >> value_shift(slot) & 15;
}

static void set_code(ck_kv_type type, size_t dim, void *part, size_t slot, size_t channel, uint8_t code) {
    if (type == CK_KV_RAZER_KEYS) return set_key_code(dim, part, slot, channel, code);
    uint8_t *byte = (uint8_t *)part + value_byte(slot, channel);
    const size_t shift = value_shift(slot);
    *byte = (uint8_t)((*byte & ~(15u << shift)) | (unsigned)code << shift);
}

// Groups that a part has room for: of keys whole blocks.
static size_t stored_groups(ck_kv_type type, size_t dim) {
    return type == CK_KV_RAZER_KEYS ? 2 * ck_razer_blocks(dim) : ck_razer_groups(dim);
}

// MARK: Rows

void ck_razer_write(ck_kv_type type, size_t dim, void *part, size_t slot, const float *row) {
    const uint8_t exponent = exponent_of(largest_magnitude(row, dim));
    const float unit = exponent == CK_RAZER_NAN ? 0 : ck_razer_power((uint8_t)(254 - exponent));
    for (size_t group = 0; group < stored_groups(type, dim); group++) {
        float y[CK_RAZER_GROUP];
        uint8_t codes[CK_RAZER_GROUP];
        for (size_t i = 0; i < CK_RAZER_GROUP; i++) {
            const size_t channel = group * CK_RAZER_GROUP + i;
            y[i] = channel < dim && unit > 0 ? row[channel] * unit : 0;
        }
        *(uint8_t *)scale_place(type, dim, part, slot, group) = quantize_group(y, codes);
        for (size_t i = 0; i < CK_RAZER_GROUP; i++) set_code(type, dim, part, slot, group * CK_RAZER_GROUP + i, codes[i]);
    }
    ((uint8_t *)ck_razer_exponents(type, dim, part))[slot] = exponent;
}

float ck_razer_scale(ck_kv_type type, size_t dim, const void *part, size_t slot, size_t channel) {
    const float power = ck_razer_power(ck_razer_exponents(type, dim, part)[slot]);
    return scale_of(*scale_place(type, dim, part, slot, channel / CK_RAZER_GROUP)) * power;
}

void ck_razer_read(ck_kv_type type, size_t dim, const void *part, size_t slot, float *row) {
    for (size_t channel = 0; channel < dim; channel++) {
        const size_t special = *scale_place(type, dim, part, slot, channel / CK_RAZER_GROUP) & NEGATIVE_SPECIAL ? 16 : 0;
        const float value = 0.5f * (float)ck_razer_doubled[special + code_at(type, dim, part, slot, channel)];
        row[channel] = value * ck_razer_scale(type, dim, part, slot, channel);
    }
}

void ck_razer_copy(ck_kv_type type, size_t dim, const void *from, size_t from_slot, void *to, size_t to_slot) {
    for (size_t group = 0; group < stored_groups(type, dim); group++) {
        *(uint8_t *)scale_place(type, dim, to, to_slot, group) = *scale_place(type, dim, from, from_slot, group);
        for (size_t i = 0; i < CK_RAZER_GROUP; i++) {
            const size_t channel = group * CK_RAZER_GROUP + i;
            set_code(type, dim, to, to_slot, channel, code_at(type, dim, from, from_slot, channel));
        }
    }
    ((uint8_t *)ck_razer_exponents(type, dim, to))[to_slot] = ck_razer_exponents(type, dim, from)[from_slot];
}
