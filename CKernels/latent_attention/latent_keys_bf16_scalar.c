// Scores of keys rebuilt from bf16 latents, the definition: in double, pair by pair; keys turn by all three parts of their
// position.
#include "attention/kv_rows.h"
#include "latent_attention/latent_layout.h"
#include "latent_attention/latent_part.h"
#include "support/bf16.h"

size_t ck_latent_keys_bf16_scalar_scratch(const ck_latent_group *group, size_t rows) {
    (void)rows;
    return group->rank * sizeof(float);
}

// Element `half` of a pair, before it turns.
static double rebuilt(const ck_latent_group *group, const float *latent, size_t head, size_t pair, size_t half) {
    const uint16_t *tile = (const uint16_t *)ck_latent_b(group, head, pair / LATENT_PAIRS) + half * LATENT_TILE_BYTES / 2;
    const uint16_t *line = tile + pair % LATENT_PAIRS * LATENT_STEP_RANKS;
    const float *bias = ck_latent_bias(group, head, pair / LATENT_PAIRS);
    double sum = bias ? (double)bias[half * LATENT_PAIRS + pair % LATENT_PAIRS] : 0;
    for (size_t r = 0; r < group->rank; r++) {
        const uint16_t b = line[r / LATENT_STEP_RANKS * LATENT_TILE_BYTES + r % LATENT_STEP_RANKS];
        sum += (double)latent[r] * (double)ck_bf16_to_f32(b);
    }
    return sum;
}

static void turn(double *low, double *high, double cosine, double sine) {
    const double u = *low, v = *high;
    *low = u * cosine - v * sine;
    *high = v * cosine + u * sine;
}

static void turn_to(const ck_latent_group *group, const ck_latent_angles *angles, size_t token, size_t pair, double *low,
                    double *high) {
    const size_t pairs = ck_latent_strips(group->dim) * LATENT_PAIRS;
    const size_t index = token / CK_LATENT_TOKENS;
    const float *strip = ck_latent_token_angles(angles, group->dim, index, pair / LATENT_PAIRS);
    const float *within = strip + pair % LATENT_PAIRS * 2 * CK_LATENT_TOKENS + token % CK_LATENT_TOKENS;
    const float *block = ck_latent_block_angles(angles, group->dim, index) + pair;
    turn(low, high, (double)within[0], (double)within[CK_LATENT_TOKENS]);
    turn(low, high, (double)block[0], (double)block[pairs]);
    turn(low, high, (double)angles->origin[pair], (double)angles->origin[pairs + pair]);
}

void ck_latent_keys_bf16_scalar(const ck_latent_group *group, const ck_latent_angles *angles, const ck_kv_span *latents,
                                const ck_attention_queries *queries, float *scores, size_t stride, void *scratch) {
    enum { ROWS = 16 };
    const size_t rows = queries->rows / group->heads;
    for (size_t token = 0; token < latents->tokens; token++) {
        float *latent = scratch;
        ck_latent_read(CK_KV_LATENT_BF16, group->rank, latents->parts[token / CK_KV_TOKENS], token % CK_KV_TOKENS, latent);
        for (size_t head = 0; head < group->heads; head++)
            for (size_t row = 0; row < rows; row += ROWS) {
                const size_t left = rows - row, count = left < ROWS ? left : ROWS, at = head * rows + row;
                double sums[ROWS] = {0};
                for (size_t pair = 0; pair < group->dim / 2; pair++) {
                    double low = rebuilt(group, latent, head, pair, 0), high = rebuilt(group, latent, head, pair, 1);
                    turn_to(group, angles, token, pair, &low, &high);
                    for (size_t m = 0; m < count; m++) {
                        const float *q = queries->q + (at + m) * queries->stride;
                        sums[m] += low * (double)q[ck_latent_element(group, pair, 0)];
                        sums[m] += high * (double)q[ck_latent_element(group, pair, 1)];
                    }
                }
                for (size_t m = 0; m < count; m++) scores[(at + m) * stride + token] = (float)sums[m];
            }
    }
}
