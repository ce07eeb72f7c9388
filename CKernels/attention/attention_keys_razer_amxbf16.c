// Scores of RaZeR keys, AMX BF16:
//
//   A  16 tokens x 32 channels, looked up with their scales as bf16, exactly
//   B  32 channels x 16 queries, rounded to bf16 and interleaved in pairs once a call
//   C  16 tokens x 16 queries, turned on its way into the rows of scores, and scaled by the tokens' powers of two; x 4 where
//      there are no more queries
//
// While the tile unit works on 16 tokens, the next 16 are looked up. Both kinds of work alternate in small pieces: each is far
// longer than what a core sees ahead.
#include "attention/razer_rows.h"
#include "support/isa.h"

#if CK_X86

enum { TILE = 16, TILE_BYTES = 1024, FEW = 4, LOOK_UPS = 4 };  // tokens that are looked up beside one multiplication

static size_t query_tiles(size_t rows) { return (rows + TILE - 1) / TILE; }

// For each 16 queries B; A of two times 16 tokens.
size_t ck_attention_keys_razer_amxbf16_scratch(size_t rows, size_t dim) {
    return (query_tiles(rows) + 2) * ck_razer_blocks(dim) * TILE_BYTES;
}

CK_ISA_BEGIN(amxbf16)
#include "support/bf16_avx512.h"
#include "support/tile.h"
#include "attention/kv_ahead.h"
#include "attention/razer_avx512.h"
#include "attention/scores_amx.h"

typedef struct {
    const ck_kv_span *keys;
    size_t blocks, lines_ahead;  // lines of LOOK_UPS tokens, about
    char *b, *a;
} work;

CK_INLINE char *a_of(const work *w, size_t first) { return w->a + first / TILE % 2 * w->blocks * TILE_BYTES; }

// Four tokens from `slot` on of a part into A, a row of each tile.
CK_INLINE void look_up(const uint8_t *part, const uint8_t *scales, size_t slot, size_t blocks, char *a) {
    size_t place = slot * blocks;
    for (size_t t = 0; t < LOOK_UPS; t++, a += 64) {
        char *target = a;
        if (blocks % 4) {
            for (size_t block = 0; block < blocks; block++, place++, target += TILE_BYTES)
                _mm512_store_si512(target, ck_razer_key_block_avx512(part, scales, place));
            continue;
        }
        for (size_t block = 0; block < blocks; block += 4, place += 4, target += 4 * TILE_BYTES) {
            const __m512i line = _mm512_load_si512(part + place * 16);
            const uint8_t *own = scales + 2 * place;
            _mm512_store_si512(target, ck_razer_key_avx512(line, own));
            _mm512_store_si512(target + TILE_BYTES, ck_razer_key_avx512(_mm512_srli_epi16(line, 4), own + 2));
            _mm512_store_si512(target + 2 * TILE_BYTES, ck_razer_key_avx512(_mm512_srli_epi16(line, 8), own + 4));
            _mm512_store_si512(target + 3 * TILE_BYTES, ck_razer_key_avx512(_mm512_srli_epi16(line, 12), own + 6));
        }
    }
}

// Scores of 16 tokens with up to 16 queries, from C.
CK_INLINE void store_scores(const work *w, const char *c, size_t first, float *scores, size_t stride, size_t rows, int few) {
    const void *part = w->keys->parts[first / CK_KV_TOKENS];
    const uint8_t *exponents = ck_razer_exponents(CK_KV_RAZER_KEYS, w->keys->dim, part);
    const __m512 powers = ck_razer_powers_avx512(exponents + first % CK_KV_TOKENS);
    __m512 sums[TILE];
    if (few) ck_few_scores_amx(c, sums);
    else ck_scores_amx(c, sums);
    CK_UNROLL
    for (size_t row = 0; row < TILE; row++)
        if (row < rows && (row < FEW || !few)) _mm512_storeu_ps(scores + row * stride, _mm512_mul_ps(sums[row], powers));
}

// The 16 tokens from `first` on with all queries, while the tokens from `next` on are looked up, if there are any. `blocks` is
// that of the work.
CK_INLINE void group(const work *w, const ck_attention_queries *queries, size_t first, size_t next, ck_kv_ahead *ahead,
                     float *scores, size_t stride, int few, size_t blocks) {
    _Alignas(64) char c[TILE_BYTES];
    const char *a = a_of(w, first), *b = w->b;
    char *target = a_of(w, next);
    size_t t = next < w->keys->tokens ? 0 : TILE;
    const uint8_t *part = t < TILE ? w->keys->parts[next / CK_KV_TOKENS] : NULL;
    const uint8_t *scales = t < TILE ? ck_razer_key_scales(w->keys->dim, part) : NULL;
    for (size_t m = 0; m < queries->rows; m += TILE) {
        ck_tile_zero(0);
        for (size_t block = 0; block < blocks; block++, b += TILE_BYTES) {
            ck_tile_load(1, a + block * TILE_BYTES, 64);
            ck_tile_load(2, b, 64);
            ck_tile_dot_bf16(0, 1, 2);
            if (t == TILE) continue;
            ck_kv_ahead_lines(ahead, w->lines_ahead);
            look_up(part, scales, next % CK_KV_TOKENS + t, blocks, target + t * 64);
            t += LOOK_UPS;
        }
        ck_tile_store(0, c, few ? 4 * FEW : 64);
        ck_tile_fence();
        store_scores(w, c, first, scores + m * stride + first, stride, queries->rows - m, few);
    }
    for (; t < TILE; t += LOOK_UPS) look_up(part, scales, next % CK_KV_TOKENS + t, blocks, target + t * 64);
    ck_tile_fence();
}

static void configure(int few) {
    ck_tile_config config = {.palette = 1};
    const size_t queries = few ? 4 * FEW : 64;
    ck_tile_shape(&config, 0, TILE, queries);
    ck_tile_shape(&config, 1, TILE, 64);
    ck_tile_shape(&config, 2, TILE, queries);
    ck_tile_configure(&config);
}

void ck_attention_keys_razer_amxbf16(const ck_kv_span *keys, const ck_attention_queries *queries, float *scores, size_t stride,
                                     void *scratch) {
    const size_t blocks = ck_razer_blocks(keys->dim);
    const size_t part_bytes = ck_razer_part_bytes(CK_KV_RAZER_KEYS, keys->dim);
    const work w = {keys, blocks, (part_bytes / 64 + TILE - 1) / TILE, scratch,
                    (char *)scratch + query_tiles(queries->rows) * blocks * TILE_BYTES};
    const int few = queries->rows <= FEW;
    ck_pack_queries_amx(queries, keys->dim, blocks, w.b);
    ck_tile_fence();
    configure(few);
    ck_kv_ahead ahead = ck_kv_ahead_begin(keys, part_bytes);
    for (size_t t = 0; t < TILE; t += LOOK_UPS)
        look_up(keys->parts[0], ck_razer_key_scales(keys->dim, keys->parts[0]), t, blocks, w.a + t * 64);
    ck_tile_fence();
    for (size_t first = 0; first < keys->tokens; first += TILE) {
#define GROUP(few, blocks) group(&w, queries, first, first + TILE, &ahead, scores, stride, few, blocks)
        if (few && blocks == 4) GROUP(1, 4);
        else if (few) GROUP(1, blocks);
        else if (blocks == 4) GROUP(0, 4);
        else GROUP(0, blocks);
#undef GROUP
    }
    ck_tile_release();
}

CK_ISA_END
#endif
