// The loops of all vector kernels. Include inside an ISA region after the kernel's own types, then define the four functions
// declared below.
//
// For each part, head, block of 32 tokens and strip of 16 pairs: rebuild the strip's elements, then turn them and multiply them
// with the queries, which are turned back to the block's first token. The second half waits until the next strip is being
// rebuilt, so that a kernel can do both at once; order and results are the same.
//
// A score is two chains over the pairs in order, one of lower and one of upper elements, whatever the rows and tokens beside it.
#pragma once
#include "attention/kv_rows.h"
#include "latent_attention/latent_layout.h"

enum {
    LATENT_PIECE_PAIRS = 4,  // pairs that are multiplied with LATENT_PIECE_ROWS rows in one piece of work
    LATENT_PIECE_ROWS = 4,
    LATENT_STRIP_PIECES = LATENT_PAIRS / LATENT_PIECE_PAIRS,
    LATENT_STRIP_FLOATS = 2 * LATENT_PAIRS * CK_LATENT_TOKENS,  // a rebuilt strip
};

// What is rebuilt: a strip of a head, for the two groups of lanes of a block.
typedef struct {
    const char *b;           // tiles: [step][lower, upper]
    const float *bias;       // [lower, upper][16 pairs], or NULL
    const char *latents[2];  // [step][16 pairs of ranks][16 tokens]
    size_t steps;
    const char *prepared;  // latent_prepared_bytes of this strip
} latent_strip;

// A rebuilt strip on its way into scores.
typedef struct {
    const float *rebuilt;  // [lower, upper][16 pairs][32 tokens]
    const float *angles;   // [16 pairs][cosine, sine][32 tokens]
    const float *q;        // [row][lower, upper][16 pairs]
    float *sums;           // [row][lower, upper][32 tokens]
    size_t rows, done;     // pieces: LATENT_STRIP_PIECES for each LATENT_PIECE_ROWS rows
    int first;             // strip of the head: sums start at 0
    float *scores;         // where sums go after the head's last strip; NULL before
    size_t stride, tokens;
} latent_dots;

// The next part's lines, asked for a few at each step of B.
typedef struct {
    const char *at, *end;
    size_t lines;
} latent_ahead;

// Bytes that a kernel keeps for each strip of each head during a call, a multiple of 64, and the work of filling them.
static size_t latent_prepared_bytes(const ck_latent_group *group);
static void latent_prepare(const ck_latent_group *group, size_t head, size_t strip, char *prepared);
// Rebuild a strip; may go on with `waiting` meanwhile.
static void latent_rebuild(const latent_strip *strip, float *rebuilt, latent_dots *waiting, latent_ahead *ahead);
// Add `rows` (1...4) rows from `row` on, LATENT_PIECE_PAIRS pairs from `pair` on.
static void latent_dot_piece(const latent_dots *dots, size_t row, size_t rows, size_t pair);

static size_t latent_pieces(const latent_dots *dots) {
    return (dots->rows + LATENT_PIECE_ROWS - 1) / LATENT_PIECE_ROWS * LATENT_STRIP_PIECES;
}

static void latent_finish(const latent_dots *dots) {
    const size_t tokens =
        dots->tokens < CK_LATENT_TOKENS ? (dots->tokens + LATENT_LANES - 1) / LATENT_LANES * LATENT_LANES : CK_LATENT_TOKENS;
    for (size_t row = 0; row < dots->rows; row++) {
        const float *low = dots->sums + row * 2 * CK_LATENT_TOKENS, *high = low + CK_LATENT_TOKENS;
        for (size_t t = 0; t < tokens; t++) dots->scores[row * dots->stride + t] = low[t] + high[t];
    }
}

// Goes on until `pieces` pieces are done.
static void latent_dots_until(latent_dots *dots, size_t pieces) {
    for (; dots->done < pieces; dots->done++) {
        const size_t row = dots->done / LATENT_STRIP_PIECES * LATENT_PIECE_ROWS, left = dots->rows - row;
        const size_t pair = dots->done % LATENT_STRIP_PIECES * LATENT_PIECE_PAIRS;
        latent_dot_piece(dots, row, left < LATENT_PIECE_ROWS ? left : LATENT_PIECE_ROWS, pair);
    }
}

static void latent_dots_end(latent_dots *dots) {
    latent_dots_until(dots, latent_pieces(dots));
    if (dots->scores) latent_finish(dots);
    *dots = (latent_dots){0};
}

// (low, high) = 16 pairs turned back by the angles.
CK_INLINE void latent_turn_back(const float *low, const float *high, const float *cosines, const float *sines, float *target) {
    for (size_t i = 0; i < LATENT_PAIRS; i++) {
        target[i] = low[i] * cosines[i] + high[i] * sines[i];
        target[LATENT_PAIRS + i] = high[i] * cosines[i] - low[i] * sines[i];
    }
}

// Scratch: queries turned back by R(first), rows x strips x [lower, upper][16 pairs]; twice those of a head and a block,
// strips x rows x [lower, upper][16 pairs]; sums; two rebuilt strips; what the kernel prepares.
typedef struct {
    float *first, *turned[2], *sums, *rebuilt[2];
    char *prepared;
} latent_room;

static size_t latent_room_bytes(const ck_latent_group *group, size_t rows) {
    const size_t strips = ck_latent_strips(group->dim), head_rows = rows / group->heads;
    const size_t q = strips * 2 * LATENT_PAIRS * (rows + 2 * head_rows), sums = head_rows * 2 * CK_LATENT_TOKENS;
    return (q + sums + 2 * LATENT_STRIP_FLOATS) * sizeof(float) + group->heads * strips * latent_prepared_bytes(group);
}

static latent_room latent_room_in(const ck_latent_group *group, size_t rows, void *scratch) {
    const size_t row_floats = ck_latent_strips(group->dim) * 2 * LATENT_PAIRS, head_rows = rows / group->heads;
    latent_room room = {.first = scratch};
    room.turned[0] = room.first + rows * row_floats;
    room.turned[1] = room.turned[0] + head_rows * row_floats;
    room.sums = room.turned[1] + head_rows * row_floats;
    room.rebuilt[0] = room.sums + head_rows * 2 * CK_LATENT_TOKENS;
    room.rebuilt[1] = room.rebuilt[0] + LATENT_STRIP_FLOATS;
    room.prepared = (char *)(room.rebuilt[1] + LATENT_STRIP_FLOATS);
    return room;
}

static void latent_turn_to_first(const ck_latent_group *group, const ck_attention_queries *queries, const float *origin,
                                 float *target) {
    const size_t strips = ck_latent_strips(group->dim), pairs = strips * LATENT_PAIRS;
    for (size_t row = 0; row < queries->rows; row++)
        for (size_t pair = 0; pair < pairs; pair += LATENT_PAIRS, target += 2 * LATENT_PAIRS) {
            const float *q = queries->q + row * queries->stride;
            float low[LATENT_PAIRS], high[LATENT_PAIRS];
            for (size_t i = 0; i < LATENT_PAIRS; i++) {
                const int inside = pair + i < group->dim / 2;
                low[i] = inside ? q[ck_latent_element(group, pair + i, 0)] : 0;
                high[i] = inside ? q[ck_latent_element(group, pair + i, 1)] : 0;
            }
            latent_turn_back(low, high, origin + pair, origin + pairs + pair, target);
        }
}

static void latent_turn_to_block(const float *first, size_t rows, size_t strips, const float *angles, float *target) {
    for (size_t strip = 0; strip < strips; strip++)
        for (size_t row = 0; row < rows; row++, target += 2 * LATENT_PAIRS) {
            const float *low = first + (row * strips + strip) * 2 * LATENT_PAIRS, *cosines = angles + strip * LATENT_PAIRS;
            latent_turn_back(low, low + LATENT_PAIRS, cosines, cosines + strips * LATENT_PAIRS, target);
        }
}

static latent_ahead latent_ahead_of(const ck_latent_group *group, const ck_kv_span *latents, size_t part) {
    const size_t bytes = ck_kv_part_bytes(CK_KV_LATENT_BF16, latents->dim);
    const size_t steps = group->heads * ck_latent_strips(group->dim) * ck_latent_steps(group->rank) * 2;
    latent_ahead ahead = {.lines = (bytes / 64 + steps - 1) / steps};
    if (part + 1 == ck_kv_parts(latents->tokens)) return ahead;
    ahead.at = latents->parts[part + 1];
    ahead.end = ahead.at + bytes;
    return ahead;
}

CK_INLINE void latent_ask_ahead(latent_ahead *ahead) {
    for (size_t i = 0; i < ahead->lines && ahead->at < ahead->end; i++, ahead->at += 64) _mm_prefetch(ahead->at, _MM_HINT_T0);
}

CK_INLINE void latent_keys_run(const ck_latent_group *group, const ck_latent_angles *angles, const ck_kv_span *latents,
                               const ck_attention_queries *queries, float *scores, size_t stride, void *scratch) {
    const size_t strips = ck_latent_strips(group->dim), steps = ck_latent_steps(group->rank);
    const size_t rows = queries->rows / group->heads, lanes_bytes = steps * LATENT_TILE_BYTES;
    const size_t prepared_bytes = latent_prepared_bytes(group);
    const latent_room room = latent_room_in(group, queries->rows, scratch);
    latent_turn_to_first(group, queries, angles->origin, room.first);
    if (prepared_bytes)
        for (size_t i = 0; i < group->heads * strips; i++)
            latent_prepare(group, i / strips, i % strips, room.prepared + i * prepared_bytes);

    latent_dots waiting = {0};
    size_t turn = 0, block_turn = 0;
    for (size_t part = 0; part < ck_kv_parts(latents->tokens); part++) {
        latent_ahead ahead = latent_ahead_of(group, latents, part);
        for (size_t head = 0; head < group->heads; head++)
            for (size_t slot = 0; slot < ck_kv_part_tokens(latents, part); slot += CK_LATENT_TOKENS, block_turn ^= 1) {
                const size_t token = part * CK_KV_TOKENS + slot;
                const char *lanes = (const char *)latents->parts[part] + slot / LATENT_LANES * lanes_bytes;
                float *q = room.turned[block_turn];
                latent_turn_to_block(room.first + head * rows * strips * 2 * LATENT_PAIRS, rows, strips,
                                     ck_latent_block_angles(angles, group->dim, token / CK_LATENT_TOKENS), q);
                for (size_t strip = 0; strip < strips; strip++, turn ^= 1) {
                    const latent_strip rebuild = {
                        .b = ck_latent_b(group, head, strip),
                        .bias = ck_latent_bias(group, head, strip),
                        .latents = {lanes, lanes + lanes_bytes},
                        .steps = steps,
                        .prepared = room.prepared + (head * strips + strip) * prepared_bytes,
                    };
                    latent_rebuild(&rebuild, room.rebuilt[turn], &waiting, &ahead);
                    latent_dots_end(&waiting);
                    waiting = (latent_dots){
                        .rebuilt = room.rebuilt[turn],
                        .angles = ck_latent_token_angles(angles, group->dim, token / CK_LATENT_TOKENS, strip),
                        .q = q + strip * rows * 2 * LATENT_PAIRS,
                        .sums = room.sums,
                        .rows = rows,
                        .first = strip == 0,
                        .scores = strip + 1 == strips ? scores + head * rows * stride + token : NULL,
                        .stride = stride,
                        .tokens = latents->tokens - token,
                    };
                }
            }
    }
    latent_dots_end(&waiting);
}
