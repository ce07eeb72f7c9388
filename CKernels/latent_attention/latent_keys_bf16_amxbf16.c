// Scores of keys rebuilt from bf16 latents, AMX. A tile of B holds 16 elements x 32 ranks, a tile of latents 32 ranks x 16
// tokens, C their product: 16 elements x 16 tokens. C is 2 x 2, lower and upper elements by two groups of tokens, which takes all
// eight tiles. While the tile unit multiplies a step, 16 cycles a tile, the vector units work on the strip before.
#include "ck_latent_attention.h"
#include "support/isa.h"

#if CK_X86
CK_ISA_BEGIN(amxbf16)
#include "support/tile.h"
#include "latent_attention/latent_keys.h"
#include "latent_attention/latent_dots_avx512.h"

// With a bias C does not start at 0 but at two tiles: of every element its bias for 16 tokens.
static size_t latent_prepared_bytes(const ck_latent_group *group) { return group->bias ? 2 * LATENT_TILE_BYTES : 0; }

static void latent_prepare(const ck_latent_group *group, size_t head, size_t strip, char *prepared) {
    const float *bias = ck_latent_bias(group, head, strip);
    for (size_t i = 0; i < 2 * LATENT_PAIRS; i++) _mm512_store_ps(prepared + 64 * i, _mm512_set1_ps(bias[i]));
}

CK_INLINE void start_amx(const latent_strip *strip) {
    if (strip->bias) {
        ck_tile_load(0, strip->prepared, 64);
        ck_tile_load(1, strip->prepared, 64);
        ck_tile_load(2, strip->prepared + LATENT_TILE_BYTES, 64);
        ck_tile_load(3, strip->prepared + LATENT_TILE_BYTES, 64);
        return;
    }
    ck_tile_zero(0);
    ck_tile_zero(1);
    ck_tile_zero(2);
    ck_tile_zero(3);
}

static void latent_rebuild(const latent_strip *strip, float *rebuilt, latent_dots *waiting, latent_ahead *ahead) {
    const size_t pieces = latent_pieces(waiting);
    const char *b = strip->b;
    start_amx(strip);
    for (size_t step = 0; step < strip->steps; step++, b += 2 * LATENT_TILE_BYTES) {
        ck_tile_load(4, b, 64);
        ck_tile_load(6, strip->latents[0] + step * LATENT_TILE_BYTES, 64);
        ck_tile_dot_bf16(0, 4, 6);
        ck_tile_load(7, strip->latents[1] + step * LATENT_TILE_BYTES, 64);
        ck_tile_dot_bf16(1, 4, 7);
        ck_tile_load(5, b + LATENT_TILE_BYTES, 64);
        ck_tile_dot_bf16(2, 5, 6);
        ck_tile_dot_bf16(3, 5, 7);
        latent_ask_ahead(ahead);
        latent_dots_until(waiting, (step + 1) * pieces / strip->steps);
    }
    ck_tile_store(0, rebuilt, 4 * CK_LATENT_TOKENS);
    ck_tile_store(1, rebuilt + LATENT_LANES, 4 * CK_LATENT_TOKENS);
    ck_tile_store(2, rebuilt + LATENT_PAIRS * CK_LATENT_TOKENS, 4 * CK_LATENT_TOKENS);
    ck_tile_store(3, rebuilt + LATENT_PAIRS * CK_LATENT_TOKENS + LATENT_LANES, 4 * CK_LATENT_TOKENS);
    ck_tile_fence();
}

size_t ck_latent_keys_bf16_amxbf16_scratch(const ck_latent_group *group, size_t rows) { return latent_room_bytes(group, rows); }

void ck_latent_keys_bf16_amxbf16(const ck_latent_group *group, const ck_latent_angles *angles, const ck_kv_span *latents,
                                 const ck_attention_queries *queries, float *scores, size_t stride, void *scratch) {
    ck_tile_config config = {.palette = 1};
    for (int tile = 0; tile < 8; tile++) ck_tile_shape(&config, tile, 16, 64);
    ck_tile_configure(&config);
    latent_keys_run(group, angles, latents, queries, scores, stride, scratch);
    ck_tile_release();
}

CK_ISA_END
#endif
