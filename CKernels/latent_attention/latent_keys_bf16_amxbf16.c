// Scores of keys rebuilt from bf16 latents, AMX. A tile of B holds 16 elements x 32 ranks, a tile of latents 32 ranks x 16
// tokens, where they lie in the part; C their product: 16 elements x 16 tokens.
#include "ck_latent_attention.h"
#include "support/isa.h"

#if CK_X86
CK_ISA_BEGIN(amxbf16)
#include "support/tile.h"
#include "latent_attention/latent_keys_amx.h"

size_t ck_latent_keys_bf16_amxbf16_scratch(const ck_latent_group *group, size_t rows) {
    latent_room room;
    return latent_lay_out(group, rows, NULL, &room);
}

void ck_latent_keys_bf16_amxbf16(const ck_latent_group *group, const ck_latent_angles *angles, const ck_kv_span *latents,
                                 const ck_attention_queries *queries, float *scores, size_t stride, void *scratch) {
    latent_keys_run(group, angles, latents, queries, scores, stride, scratch);
}

CK_ISA_END
#endif
