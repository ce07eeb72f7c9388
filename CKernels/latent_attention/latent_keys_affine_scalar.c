// Scores of keys rebuilt from latents in codes of 8, 4, 3 and 2 bits, the definition.
#include "ck_latent_attention.h"
#include "support/isa.h"

size_t ck_latent_keys_bf16_scalar_scratch(const ck_latent_group *group, size_t rows);
void ck_latent_keys_bf16_scalar(const ck_latent_group *group, const ck_latent_angles *angles, const ck_kv_span *latents,
                                const ck_attention_queries *queries, float *scores, size_t stride, void *scratch);
#define KERNEL         ck_latent_keys_bf16_scalar
#define KERNEL_SCRATCH ck_latent_keys_bf16_scalar_scratch

#include "attention/kv_affine.h"
#define EXPAND(part, bits, dim, expanded, next)                                                                                  \
    ((void)(next), ck_affine_expand(part, (size_t)bits, dim, 1, (uint16_t *)(void *)(expanded)))
#include "latent_attention/latent_keys_affine.h"

LATENT_AFFINE(8, scalar)
LATENT_AFFINE(4, scalar)
LATENT_AFFINE(3, scalar)
LATENT_AFFINE(2, scalar)
