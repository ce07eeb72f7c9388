// Scores of keys rebuilt from bf16 latents, AVX-512 BF16. 16 tokens in a vector; four pairs of elements by two groups of tokens
// are 16 chains of pair products, and each two ranks of B are a dword, broadcast for both groups.
#include "ck_latent_attention.h"
#include "support/isa.h"

#if CK_X86
CK_ISA_BEGIN(avx512bf16)
#include "latent_attention/latent_keys.h"
#include "latent_attention/latent_dots_avx512.h"

static size_t latent_prepared_bytes(const ck_latent_group *group) {
    (void)group;
    return 0;
}

static void latent_prepare(const ck_latent_group *group, size_t head, size_t strip, char *prepared) {
    (void)group, (void)head, (void)strip, (void)prepared;
}

CK_INLINE __m512i two_ranks_avx512(const char *at) {
    int32_t word;
    memcpy(&word, at, sizeof word);
    return _mm512_set1_epi32(word);
}

static void latent_rebuild(const latent_strip *strip, float *rebuilt, latent_dots *waiting, latent_ahead *ahead) {
    enum { PAIRS = 4 };
    (void)waiting;
    for (int pair = 0; pair < LATENT_PAIRS; pair += PAIRS) {
        __m512 acc[2][PAIRS][2];
        CK_UNROLL
        for (int i = 0; i < 2 * PAIRS; i++) {
            const int half = i / PAIRS, j = i % PAIRS;
            const float start = strip->bias ? strip->bias[half * LATENT_PAIRS + pair + j] : 0;
            acc[half][j][0] = acc[half][j][1] = _mm512_set1_ps(start);
        }
        const char *b = strip->b + pair * 64;
        for (size_t step = 0; step < strip->steps; step++, b += 2 * LATENT_TILE_BYTES) {
            if (pair == 0) latent_ask_ahead(ahead);
            const char *lanes[2] = {strip->latents[0] + step * LATENT_TILE_BYTES, strip->latents[1] + step * LATENT_TILE_BYTES};
            for (int k = 0; k < LATENT_STEP_RANKS / 2; k++) {
                const __m512i left = _mm512_load_si512(lanes[0] + 64 * k), right = _mm512_load_si512(lanes[1] + 64 * k);
                CK_UNROLL
                for (int i = 0; i < 2 * PAIRS; i++) {
                    const int half = i / PAIRS, j = i % PAIRS;
                    const __m512i w = two_ranks_avx512(b + half * LATENT_TILE_BYTES + j * 64 + 4 * k);
                    acc[half][j][0] = _mm512_dpbf16_ps(acc[half][j][0], (__m512bh)left, (__m512bh)w);
                    acc[half][j][1] = _mm512_dpbf16_ps(acc[half][j][1], (__m512bh)right, (__m512bh)w);
                }
            }
        }
        CK_UNROLL
        for (int i = 0; i < 2 * PAIRS; i++) {
            const int half = i / PAIRS, j = i % PAIRS;
            float *at = rebuilt + (half * LATENT_PAIRS + pair + j) * (int)CK_LATENT_TOKENS;
            _mm512_store_ps(at, acc[half][j][0]);
            _mm512_store_ps(at + LATENT_LANES, acc[half][j][1]);
        }
    }
}

size_t ck_latent_keys_bf16_avx512bf16_scratch(const ck_latent_group *group, size_t rows) {
    return latent_room_bytes(group, rows);
}

void ck_latent_keys_bf16_avx512bf16(const ck_latent_group *group, const ck_latent_angles *angles, const ck_kv_span *latents,
                                    const ck_attention_queries *queries, float *scores, size_t stride, void *scratch) {
    latent_keys_run(group, angles, latents, queries, scores, stride, scratch);
}

CK_ISA_END
#endif
