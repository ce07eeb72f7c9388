#include "model_compare.h"
#include <string.h>
#include "instruction_case.h"
#include "support/isa.h"

// SplitMix64.
static uint64_t random_bits(uint64_t *state) {
    uint64_t z = *state += 0x9E3779B97F4A7C15u;
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9u;
    z = (z ^ z >> 27) * 0x94D049BB133111EBu;
    return z ^ z >> 31;
}

// What a round's floating-point operands look like. One NaN spoils a whole output, so special values are a flavour of their own.
enum { ORDINARY, UNDERFLOW, DENORMAL, SPECIAL, ANY_BITS, FLAVOURS };

// The exponents of a product lie around the sum of the factors': 64 + 64 - 127 is the smallest normal exponent, 1.
static uint32_t random_exponent(uint64_t bits, int flavour, int factor) {
    switch (flavour) {
    case ORDINARY: return 119 + bits % 16;
    case UNDERFLOW: return factor ? 58 + bits % 14 : bits % 12;
    case DENORMAL: return bits % 3 == 0 ? 0 : bits % 3 == 1 ? 230 + bits / 3 % 20 : 1 + bits / 3 % 30;
    default: return bits % 64 == 0 ? 255 : bits % 64 == 1 ? 0 : 115 + bits / 64 % 24;
    }
}

static uint32_t random_float(uint64_t *state, int flavour, int factor) {
    const uint64_t bits = random_bits(state);
    const uint32_t exponent = random_exponent(bits >> 32, flavour, factor);
    uint32_t mantissa = bits & 0x7FFFFF;
    if (exponent == 255 && bits >> 24 & 1) mantissa = 0;
    return (uint32_t)(bits >> 23 & 1) << 31 | exponent << 23 | mantissa;
}

static void fill_floats(uint64_t *state, uint64_t round, instruction_case *x) {
    const int flavour = (int)(round % FLAVOURS);
    for (size_t i = 0; i < sizeof x->a && flavour != ANY_BITS; i += 4) {
        const uint32_t a = random_float(state, flavour, 1) >> 16 | (random_float(state, flavour, 1) & 0xFFFF0000u);
        const uint32_t b = random_float(state, flavour, 1) >> 16 | (random_float(state, flavour, 1) & 0xFFFF0000u);
        const uint32_t c = random_float(state, flavour, 0);
        memcpy(x->a + i, &a, 4);
        memcpy(x->b + i, &b, 4);
        memcpy(x->c + i, &c, 4);
    }
}

static void fill_bits(uint64_t *state, instruction_case *x) {
    for (size_t i = 0; i < sizeof x->a; i += 8) {
        const uint64_t a = random_bits(state), b = random_bits(state), c = random_bits(state);
        memcpy(x->a + i, &a, 8);
        memcpy(x->b + i, &b, 8);
        memcpy(x->c + i, &c, 8);
    }
}

// C[m x n] += A[m x k] B[k x n], n and k in groups of 4 bytes, each 1...16.
static void fill_config(uint64_t round, instruction_case *x) {
    const uint8_t m = 1 + round % 16, n = 1 + round / 16 % 16, k = 1 + round / 256 % 16;
    const uint16_t bytes[3] = {(uint16_t)(4 * n), (uint16_t)(4 * k), (uint16_t)(4 * n)};
    const uint8_t rows[3] = {m, m, k};
    memset(x->config, 0, sizeof x->config);
    x->config[0] = 1;
    memcpy(x->config + 16, bytes, sizeof bytes);
    memcpy(x->config + 48, rows, sizeof rows);
}

static void one_nan(instruction_case *x) {
    for (size_t i = 0; i < sizeof x->c; i += 4) {
        uint32_t bits;
        memcpy(&bits, x->c + i, 4);
        if ((bits & 0x7FFFFFFFu) > 0x7F800000u) bits = 0x7FC00000u;
        memcpy(x->c + i, &bits, 4);
    }
}

static void hash_result(uint64_t *hash, const instruction_case *x) {
    for (size_t i = 0; i < sizeof x->c; i++) *hash = (*hash ^ x->c[i]) * 0x100000001B3u;
}

static uint64_t differing_bits(const instruction_case *a, const instruction_case *b) {
    uint64_t count = 0;
    for (size_t i = 0; i < sizeof a->c; i++) count += (uint64_t)__builtin_popcount((unsigned)(a->c[i] ^ b->c[i]));
    return count;
}

typedef void instruction_run(instruction_case *);

static void compare(uint64_t seed, uint64_t rounds, int floats, instruction_run *model, instruction_run *hardware,
                    ck_model_comparison *result) {
    static const uint64_t fnv_offset = 0xCBF29CE484222325u;
    uint64_t state = seed;
    result->model_hash = fnv_offset;
    result->hardware_hash = hardware ? fnv_offset : 0;
    for (uint64_t round = 0; round < rounds; round++) {
        instruction_case here, there;
        fill_bits(&state, &here);
        if (floats) fill_floats(&state, round, &here);
        fill_config(round, &here);
        there = here;
        model(&here);
        if (floats) one_nan(&here);
        hash_result(&result->model_hash, &here);
        if (!hardware) continue;
        hardware(&there);
        if (floats) one_nan(&there);
        hash_result(&result->hardware_hash, &there);
        const uint64_t bits = differing_bits(&here, &there);
        if (bits && !result->differing_bits) result->first_round = round;
        result->differing_bits += bits;
    }
}

#if defined(__x86_64__)
#define CK_HARDWARE(instruction) ck_hardware_##instruction
#else
#define CK_HARDWARE(instruction) NULL
#endif

static const struct {
    const char *name;
    ck_isa isa;
    int floats;
    instruction_run *model, *hardware;
} instructions[CK_MODEL_INSTRUCTIONS] = {
    {"tdpbf16ps", CK_NEEDS(amxbf16), 1, ck_model_tdpbf16ps, CK_HARDWARE(tdpbf16ps)},
    {"tdpbssd", CK_NEEDS(amxint8), 0, ck_model_tdpbssd, CK_HARDWARE(tdpbssd)},
    {"vdpbf16ps", CK_NEEDS(avx512bf16), 1, ck_model_vdpbf16ps, CK_HARDWARE(vdpbf16ps)},
    {"vpdpbusd", CK_NEEDS(avx512vnni), 0, ck_model_vpdpbusd, CK_HARDWARE(vpdpbusd)},
    {"vpdpwssd", CK_NEEDS(avx512vnni), 0, ck_model_vpdpwssd, CK_HARDWARE(vpdpwssd)},
};

ck_model_comparison ck_model_compare(size_t instruction, uint64_t seed, uint64_t rounds, ck_isa present) {
    const ck_isa isa = instructions[instruction].isa;
    instruction_run *const hardware = (isa & ~present) == 0 ? instructions[instruction].hardware : NULL;
    ck_model_comparison result = {
        .instruction = instructions[instruction].name, .isa = isa, .on_hardware = hardware != NULL, .rounds = rounds};
    compare(seed, rounds, instructions[instruction].floats, instructions[instruction].model, hardware, &result);
    return result;
}
