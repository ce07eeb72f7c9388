// Kernels of latent keys, called so that their faults are survived.
#include "ck_checks.h"
#include "trap.h"

typedef struct {
    const ck_latent_keys_variant *variant;
    const ck_latent_group *group;
    const ck_latent_angles *angles;
    const ck_kv_span *latents;
    const ck_attention_queries *queries;
    float *scores;
    size_t stride;
    void *scratch;
} latent_call;

static void run(const void *context) {
    const latent_call *call = context;
    call->variant->run(call->group, call->angles, call->latents, call->queries, call->scores, call->stride, call->scratch);
}

const char *ck_check_run_latent_keys(const ck_latent_keys_variant *variant, const ck_latent_group *group,
                                     const ck_latent_angles *angles, const ck_kv_span *latents,
                                     const ck_attention_queries *queries, float *scores, size_t stride, void *scratch,
                                     uintptr_t *address) {
    const latent_call call = {variant, group, angles, latents, queries, scores, stride, scratch};
    return ck_check_trapped(run, &call, address);
}
