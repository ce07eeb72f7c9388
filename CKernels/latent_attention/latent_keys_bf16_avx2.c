// Scores of keys rebuilt from bf16 latents, AVX2. Eight tokens in a vector; a shift and a mask make two ranks of them. B is
// widened to fp32 once a call: its numbers are broadcast from memory. Two pairs of elements by 16 tokens are eight chains.
#include "ck_latent_attention.h"
#include "support/isa.h"

#if CK_X86
#include "support/bf16.h"
#include "support/for_rows.h"

CK_ISA_BEGIN(avx2)
#include "latent_attention/latent_keys.h"
#include "support/bf16_avx2.h"

enum { PAIRS = 2, ELEMENTS = 2 * PAIRS, VECTORS = 2 };

// B of a strip, for each two pairs: [rank][pair][lower, upper].
static size_t latent_prepared_bytes(const ck_latent_group *group) {
    return ck_latent_steps(group->rank) * LATENT_STEP_RANKS * 2 * LATENT_PAIRS * sizeof(float);
}

static void latent_prepare(const ck_latent_group *group, size_t head, size_t strip, char *prepared) {
    const size_t ranks = ck_latent_steps(group->rank) * LATENT_STEP_RANKS;
    const uint16_t *b = (const uint16_t *)ck_latent_b(group, head, strip);
    float *target = (float *)(void *)prepared;
    for (size_t i = 0; i < 2 * LATENT_PAIRS; i++) {
        const size_t pair = i / 2, half = i % 2;
        const uint16_t *line = b + half * LATENT_TILE_BYTES / 2 + pair * LATENT_STEP_RANKS;
        float *column = target + pair / PAIRS * ranks * ELEMENTS + pair % PAIRS * 2 + half;
        for (size_t r = 0; r < ranks; r++)
            column[r * ELEMENTS] = ck_bf16_to_f32(line[r / LATENT_STEP_RANKS * LATENT_TILE_BYTES + r % LATENT_STEP_RANKS]);
    }
}

// Two pairs of 16 tokens.
CK_INLINE void rebuild_pairs_avx2(const float *b, const char *lanes, size_t steps, const float *bias, float *rebuilt) {
    __m256 acc[ELEMENTS][VECTORS];
    CK_UNROLL
    for (int i = 0; i < ELEMENTS; i++) {
        const __m256 start = bias ? _mm256_broadcast_ss(bias + i % 2 * LATENT_PAIRS + i / 2) : _mm256_setzero_ps();
        acc[i][0] = acc[i][1] = start;
    }
    for (size_t line = 0; line < steps * LATENT_STEP_RANKS / 2; line++, lanes += 64, b += 2 * ELEMENTS) {
        const __m256i left = _mm256_load_si256((const __m256i *)(const void *)lanes);
        const __m256i right = _mm256_load_si256((const __m256i *)(const void *)(lanes + 32));
        const __m256 even[VECTORS] = {ck_even_avx2(left), ck_even_avx2(right)};
        const __m256 odd[VECTORS] = {ck_odd_avx2(left), ck_odd_avx2(right)};
        CK_UNROLL
        for (int i = 0; i < ELEMENTS; i++) {
            const __m256 w = _mm256_broadcast_ss(b + i), x = _mm256_broadcast_ss(b + ELEMENTS + i);
            acc[i][0] = _mm256_fmadd_ps(even[0], w, acc[i][0]);
            acc[i][1] = _mm256_fmadd_ps(even[1], w, acc[i][1]);
            acc[i][0] = _mm256_fmadd_ps(odd[0], x, acc[i][0]);
            acc[i][1] = _mm256_fmadd_ps(odd[1], x, acc[i][1]);
        }
    }
    CK_UNROLL
    for (int i = 0; i < ELEMENTS; i++) {
        float *at = rebuilt + (i % 2 * LATENT_PAIRS + i / 2) * (int)CK_LATENT_TOKENS;
        _mm256_store_ps(at, acc[i][0]);
        _mm256_store_ps(at + 8, acc[i][1]);
    }
}

static void latent_rebuild(const latent_strip *strip, float *rebuilt, latent_dots *waiting, latent_ahead *ahead) {
    (void)waiting;
    for (size_t step = 0; step < strip->steps; step++) latent_ask_ahead(ahead);
    const float *b = (const float *)(const void *)strip->prepared;
    for (size_t pair = 0; pair < LATENT_PAIRS; pair += PAIRS, b += strip->steps * LATENT_STEP_RANKS * ELEMENTS)
        for (size_t group = 0; group < 2; group++)
            rebuild_pairs_avx2(b, strip->latents[group], strip->steps, strip->bias ? strip->bias + pair : NULL,
                               rebuilt + pair * CK_LATENT_TOKENS + group * LATENT_LANES);
}

// 16 tokens from `token` on.
CK_INLINE void dot_rows_avx2(const latent_dots *dots, size_t row, size_t pair, size_t token, int rows) {
    const float *q = dots->q + row * 2 * LATENT_PAIRS + pair;
    const float *rebuilt = dots->rebuilt + pair * CK_LATENT_TOKENS + token;
    const float *angles = dots->angles + pair * 2 * CK_LATENT_TOKENS + token;
    float *sums = dots->sums + row * 2 * CK_LATENT_TOKENS + token;
    const int fresh = dots->first && pair == 0;
    // Lower elements first, then upper ones: with four rows the chains of both do not fit the registers.
    for (int half = 0; half < 2; half++, sums += CK_LATENT_TOKENS, q += LATENT_PAIRS) {
        __m256 acc[LATENT_PIECE_ROWS][VECTORS];
        CK_UNROLL
        for (int m = 0; m < rows; m++) CK_UNROLL
        for (int v = 0; v < VECTORS; v++)
            acc[m][v] = fresh ? _mm256_setzero_ps() : _mm256_load_ps(sums + m * 2 * (int)CK_LATENT_TOKENS + 8 * v);
        for (int j = 0; j < LATENT_PIECE_PAIRS; j++) {
            CK_UNROLL
            for (int v = 0; v < VECTORS; v++) {
                const float *at = rebuilt + j * (int)CK_LATENT_TOKENS + 8 * v;
                const float *turn = angles + j * 2 * (int)CK_LATENT_TOKENS + 8 * v;
                const __m256 lower = _mm256_load_ps(at), upper = _mm256_load_ps(at + LATENT_PAIRS * CK_LATENT_TOKENS);
                const __m256 cosine = _mm256_load_ps(turn), sine = _mm256_load_ps(turn + CK_LATENT_TOKENS);
                const __m256 turned = half ? _mm256_fmadd_ps(upper, cosine, _mm256_mul_ps(lower, sine))
                                           : _mm256_fmsub_ps(lower, cosine, _mm256_mul_ps(upper, sine));
                CK_UNROLL
                for (int m = 0; m < rows; m++)
                    acc[m][v] = _mm256_fmadd_ps(turned, _mm256_broadcast_ss(q + m * 2 * LATENT_PAIRS + j), acc[m][v]);
            }
        }
        CK_UNROLL
        for (int m = 0; m < rows; m++) CK_UNROLL
        for (int v = 0; v < VECTORS; v++) _mm256_store_ps(sums + m * 2 * (int)CK_LATENT_TOKENS + 8 * v, acc[m][v]);
    }
}

static void latent_dot_piece(const latent_dots *dots, size_t row, size_t rows, size_t pair) {
    for (size_t token = 0; token < CK_LATENT_TOKENS; token += LATENT_LANES) {
#define CALL(count) dot_rows_avx2(dots, row, pair, token, count)
        CK_FOR_ROWS_4(rows, CALL)
#undef CALL
    }
}

size_t ck_latent_keys_bf16_avx2_scratch(const ck_latent_group *group, size_t rows) { return latent_room_bytes(group, rows); }

void ck_latent_keys_bf16_avx2(const ck_latent_group *group, const ck_latent_angles *angles, const ck_kv_span *latents,
                              const ck_attention_queries *queries, float *scores, size_t stride, void *scratch) {
    latent_keys_run(group, angles, latents, queries, scores, stride, scratch);
}

CK_ISA_END
#endif
