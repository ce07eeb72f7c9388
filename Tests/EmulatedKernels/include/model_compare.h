// Do the models compute what the processor computes? Random operands through both, bit by bit.
#pragma once
#include "ck.h"

#pragma clang assume_nonnull begin

#ifdef __cplusplus
extern "C" {
#endif

enum { CK_MODEL_INSTRUCTIONS = 5 };

typedef struct {
    const char *instruction;  // "tdpbf16ps", "tdpbssd", "vdpbf16ps", "vpdpbusd", "vpdpwssd"
    ck_isa isa;               // what it takes to run the kernels' regions that hold the instruction
    uint32_t on_hardware;     // 1 when `isa` was present; otherwise only the model ran
    uint64_t rounds;
    uint64_t differing_bits;  // between model and processor; NaNs are equal whatever their sign and payload
    uint64_t first_round;     // the first that differed, counted from 0; only with differing_bits
    uint64_t model_hash;      // FNV-1a of every result, NaNs written as 0x7FC00000
    uint64_t hardware_hash;   // the same for the processor; 0 when it did not run. Equal hashes recorded on a machine that
                              // has the instruction, with seed and rounds, test the model on machines that do not.
} ck_model_comparison;

// `rounds` operands from `seed` for instruction 0 ..< CK_MODEL_INSTRUCTIONS: ordinary numbers, products and sums around 2^-126,
// denormals, infinities, NaNs, any bit patterns; for tiles, 4096 rounds go through every combination of rows, row bytes and
// depth. `present` says what may run here: ck_isa_detect().
ck_model_comparison ck_model_compare(size_t instruction, uint64_t seed, uint64_t rounds, ck_isa present);

#ifdef __cplusplus
}
#endif

#pragma clang assume_nonnull end
