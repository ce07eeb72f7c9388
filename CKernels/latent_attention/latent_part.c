// Tokens in lanes: a token's elements lie two by two, a line apart.
#include "latent_attention/latent_part.h"
#include "latent_attention/latent_layout.h"
#include "support/bf16.h"

// The token's first two elements; the next two are a line further.
static uint16_t *first_pair(size_t dim, const void *part, size_t slot) {
    const size_t block_bytes = ck_latent_steps(dim) * LATENT_TILE_BYTES;
    return (uint16_t *)((char *)part + slot / LATENT_LANES * block_bytes) + slot % LATENT_LANES * 2;
}

static size_t at(size_t element) { return element / 2 * 2 * LATENT_LANES + element % 2; }

void ck_latent_write(ck_kv_type type, size_t dim, void *part, size_t slot, const float *row) {
    (void)type;
    uint16_t *target = first_pair(dim, part, slot);
    const size_t padded = ck_latent_steps(dim) * LATENT_STEP_RANKS;
    for (size_t i = 0; i < padded; i++) target[at(i)] = i < dim ? ck_bf16_from_f32(row[i]) : 0;
}

void ck_latent_read(ck_kv_type type, size_t dim, const void *part, size_t slot, float *row) {
    (void)type;
    const uint16_t *source = first_pair(dim, part, slot);
    for (size_t i = 0; i < dim; i++) row[i] = ck_bf16_to_f32(source[at(i)]);
}

void ck_latent_copy(ck_kv_type type, size_t dim, const void *from, size_t from_slot, void *to, size_t to_slot) {
    (void)type;
    const uint16_t *source = first_pair(dim, from, from_slot);
    uint16_t *target = first_pair(dim, to, to_slot);
    const size_t padded = ck_latent_steps(dim) * LATENT_STEP_RANKS;
    for (size_t i = 0; i < padded; i += 2) memcpy(target + at(i), source + at(i), 2 * sizeof *target);
}
