// Quantising, writing and reading tokens in codes of few bits. The numbers are those of `LatentQuantizer`:
//
//     most  = 2^bits - 1                      scale = max(max(h, 0) - min(h, 0), 1e-5) / most
//     zero  = clamp(round(-min(h, 0) / scale), 0, most)
//     code  = clamp(round(h / scale) + zero, 0, most)
#include "attention/kv_affine.h"
#include <math.h>

static float clamp(float value, float most) { return value < 0 ? 0 : value > most ? most : value; }

static void put(uint16_t *block, size_t bits, size_t n, size_t word, unsigned code) {
    const size_t wide = bits == 3 ? 2 : bits, lines = 16 / wide, shift = n % lines * wide;
    const unsigned mask = (1u << wide) - 1;
    uint16_t *low = block + n / lines * 32 + word;
    *low = (uint16_t)((*low & ~(mask << shift)) | (code & mask) << shift);
    if (bits == 3) block[64 + word] = (uint16_t)((block[64 + word] & ~(1u << n)) | (code >> 2) << n);
}

typedef struct {
    size_t bits, steps;
    int tokens_in_lanes;
    size_t slot;
} place;

static place place_of(ck_kv_type type, size_t dim, size_t slot) {
    return (place){ck_affine_bits(type), ck_affine_steps(dim), ck_affine_has_tokens_in_lanes(type), slot};
}

// Where element `i` of the token lies: its block, line and word.
static size_t block_of(const place *at, size_t i) {
    return (at->slot / AFFINE_TOKENS * at->steps + i / AFFINE_ELEMENTS) * at->bits * 32;
}
static size_t line_of(const place *at, size_t i) {
    return at->tokens_in_lanes ? i % AFFINE_ELEMENTS / 2 : at->slot % AFFINE_TOKENS;
}
static size_t word_of(const place *at, size_t i) {
    return at->tokens_in_lanes ? at->slot % AFFINE_TOKENS * 2 + i % 2 : i % AFFINE_ELEMENTS;
}

static void put_code(void *part, const place *at, size_t i, unsigned code) {
    put((uint16_t *)part + block_of(at, i), at->bits, line_of(at, i), word_of(at, i), code);
}
static unsigned code_at(const void *part, const place *at, size_t i) {
    return ck_affine_code((const uint16_t *)part + block_of(at, i), at->bits, line_of(at, i), word_of(at, i));
}

void ck_affine_write(ck_kv_type type, size_t dim, void *part, size_t slot, const float *row) {
    const place at = place_of(type, dim, slot);
    const float most = (float)((1u << at.bits) - 1);
    float low = 0, high = 0;
    int finite = 1;
    for (size_t i = 0; i < dim; i++) {
        low = row[i] < low ? row[i] : low;
        high = row[i] > high ? row[i] : high;
        finite &= isfinite(row[i]) != 0;
    }
    const float range = high - low;
    finite &= isfinite(range) != 0;
    const float scale = finite ? (range > 1e-5f ? range : 1e-5f) / most : NAN;
    const float zero = finite ? clamp(rintf(-low / scale), most) : 0;
    for (size_t i = 0; i < at.steps * AFFINE_ELEMENTS; i++)
        put_code(part, &at, i, i < dim && finite ? (unsigned)clamp(rintf(row[i] / scale) + zero, most) : 0);
    ((float *)(void *)ck_affine_scales(at.bits, dim, part))[slot] = scale;
    ((uint8_t *)ck_affine_zeros(at.bits, dim, part))[slot] = (uint8_t)zero;
}

void ck_affine_read(ck_kv_type type, size_t dim, const void *part, size_t slot, float *row) {
    const place at = place_of(type, dim, slot);
    const float scale = ck_affine_scales(at.bits, dim, part)[slot];
    const int zero = ck_affine_zeros(at.bits, dim, part)[slot];
    for (size_t i = 0; i < dim; i++) row[i] = (float)((int)code_at(part, &at, i) - zero) * scale;
}

// A token in lanes has two words of each line of a block to itself.
static void copy_lane(const uint16_t *from, size_t from_word, uint16_t *to, size_t to_word, size_t bits) {
    for (size_t line = 0; line < bits; line++) memcpy(to + line * 32 + to_word, from + line * 32 + from_word, 2 * sizeof *to);
}

// Line `from_n` of one block becomes line `to_n` of another.
static void copy_line(const uint16_t *from, size_t from_n, uint16_t *to, size_t to_n, size_t bits) {
    const size_t wide = bits == 3 ? 2 : bits, lines = 16 / wide;
    const size_t from_shift = from_n % lines * wide, to_shift = to_n % lines * wide;
    const unsigned mask = (1u << wide) - 1;
    const uint16_t *low = from + from_n / lines * 32;
    uint16_t *own = to + to_n / lines * 32;
    for (size_t w = 0; w < 32; w++)
        own[w] = (uint16_t)((own[w] & ~(mask << to_shift)) | (low[w] >> from_shift & mask) << to_shift);
    if (bits != 3) return;
    for (size_t w = 0; w < 32; w++) to[64 + w] = (uint16_t)((to[64 + w] & ~(1u << to_n)) | (from[64 + w] >> from_n & 1u) << to_n);
}

void ck_affine_copy(ck_kv_type type, size_t dim, const void *from, size_t from_slot, void *to, size_t to_slot) {
    const place source = place_of(type, dim, from_slot), target = place_of(type, dim, to_slot);
    for (size_t i = 0; i < source.steps * AFFINE_ELEMENTS; i += AFFINE_ELEMENTS) {
        const uint16_t *lines = (const uint16_t *)from + block_of(&source, i);
        uint16_t *own = (uint16_t *)to + block_of(&target, i);
        if (source.tokens_in_lanes) copy_lane(lines, word_of(&source, i), own, word_of(&target, i), source.bits);
        else copy_line(lines, line_of(&source, i), own, line_of(&target, i), source.bits);
    }
    ((float *)(void *)ck_affine_scales(source.bits, dim, to))[to_slot] = ck_affine_scales(source.bits, dim, from)[from_slot];
    ((uint8_t *)ck_affine_zeros(source.bits, dim, to))[to_slot] = ck_affine_zeros(source.bits, dim, from)[from_slot];
}
