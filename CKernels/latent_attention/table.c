// The variants of latent_keys as a table.
#include "ck_latent_attention.h"
#include "support/isa.h"

#define CK_LATENT_KEYS(fn, type, isa, scratch)                                                                                   \
    size_t ck_##scratch(const ck_latent_group *, size_t);                                                                        \
    void ck_##fn(const ck_latent_group *, const ck_latent_angles *, const ck_kv_span *, const ck_attention_queries *, float *,   \
                 size_t, void *);
#include "latent_attention/variants.inc"
#undef CK_LATENT_KEYS

#define CK_LATENT_KEYS(fn, type, isa, scratch) {#fn, type, isa, ck_##scratch, ck_##fn},
static const ck_latent_keys_variant table[] = {
#include "latent_attention/variants.inc"
};
#undef CK_LATENT_KEYS

const ck_latent_keys_variant *ck_latent_keys_variants(size_t *count) {
    *count = sizeof table / sizeof *table;
    return table;
}
