// Scores of keys rebuilt from latents in codes of 8, 4, 3 and 2 bits, AMX.
#include "ck_latent_attention.h"
#include "support/isa.h"

#if CK_X86
size_t ck_latent_keys_bf16_amxbf16_scratch(const ck_latent_group *group, size_t rows);
void ck_latent_keys_bf16_amxbf16(const ck_latent_group *group, const ck_latent_angles *angles, const ck_kv_span *latents,
                                 const ck_attention_queries *queries, float *scores, size_t stride, void *scratch);
#define KERNEL         ck_latent_keys_bf16_amxbf16
#define KERNEL_SCRATCH ck_latent_keys_bf16_amxbf16_scratch

CK_ISA_BEGIN(amxbf16)
#include "attention/kv_affine_avx512.h"
#define EXPAND(part, bits, dim, expanded, next) ck_affine_expand_avx512(part, bits, dim, 1, expanded, next)
#include "latent_attention/latent_keys_affine.h"

LATENT_AFFINE(8, amxbf16)
LATENT_AFFINE(4, amxbf16)
LATENT_AFFINE(3, amxbf16)
LATENT_AFFINE(2, amxbf16)

CK_ISA_END
#endif
