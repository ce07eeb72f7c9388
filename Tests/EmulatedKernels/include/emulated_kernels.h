// The AVX-512 and AMX kernels of CKernels over C models of the instructions: they run on any machine, slowly. For tests.
#pragma once
#include "ck_attention.h"
#include "ck_bitmap_gemm.h"
#include "ck_code4_gemm.h"
#include "ck_dense_gemm.h"
#include "ck_latent_attention.h"

#pragma clang assume_nonnull begin

#ifdef __cplusplus
extern "C" {
#endif

// The variants under the names, instruction sets and order of the shipped lists; `isa` says what the real one needs. What a
// processor answers with a fault (misaligned vectors, contradictory tiles) is in model_fault.h: ask after every call.
const ck_dense_gemm_variant *ck_dense_gemm_emulated(size_t *count);
const ck_bitmap_gemm_variant *ck_bitmap_gemm_emulated(size_t *count);
const ck_code4_gemm_variant *ck_code4_gemm_emulated(size_t *count);
const ck_latent_keys_variant *ck_latent_keys_emulated(size_t *count);
const ck_attention_keys_variant *ck_attention_keys_emulated(size_t *count);
const ck_attention_values_variant *ck_attention_values_emulated(size_t *count);
const ck_attention_softmax_variant *ck_attention_softmax_emulated(size_t *count);

#ifdef __cplusplus
}
#endif

#pragma clang assume_nonnull end
