// The emulated variants of latent_keys as a table, from the shipped list.
#include "emulate.h"
#include "emulated_kernels.h"

#define CK_LATENT_KEYS(fn, type, isa, scratch) CK_MODEL_##isa({#fn, type, isa, ck_##scratch, ck_##fn}, )
static const ck_latent_keys_variant table[] = {
#include "latent_attention/variants.inc"
};
#undef CK_LATENT_KEYS

const ck_latent_keys_variant *ck_latent_keys_emulated(size_t *count) {
    *count = sizeof table / sizeof *table;
    return table;
}
