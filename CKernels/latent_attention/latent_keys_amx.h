// The loops of the AMX kernels. Include inside an ISA region, after support/tile.h.
//
// For each part and head: slow strips first (latent_terms_amx.h), a tile of 16 rows of y by the part's 64 tokens; then the quick
// ones, lower and upper tiles of B by 32 tokens. Either way C is four tiles, which are stored and wait: what a product still has
// to go through, the vector units do while the tile unit multiplies the next, a piece of it after every step of 32 ranks.
//
// Tiles hide little of the vector work: while tile instructions are on their way, Emerald Rapids multiplies 512-bit vectors about
// once a cycle instead of twice. So what counts is how few multiplications of either kind there are.
//
// A score is a chain over the terms, to which each eight pairs of a quick strip add two chains, of lower and of upper elements,
// whatever the rows and tokens beside it.
#pragma once
#include "attention/kv_rows.h"
#include "latent_attention/latent_terms_amx.h"
#include "support/for_rows.h"
#include "support/room.h"

enum {
    LATENT_PIECE_PAIRS = 8,  // pairs that are multiplied with LATENT_PIECE_ROWS rows in one piece of work
    LATENT_PIECE_ROWS = 4,
    LATENT_GROUPS = CK_KV_TOKENS / LATENT_LANES,
    LATENT_BLOCKS = CK_KV_TOKENS / CK_LATENT_TOKENS,
    LATENT_SLOW_FLOATS = 16 * CK_KV_TOKENS,                     // a product of slow strips: [row of y][64 tokens]
    LATENT_QUICK_FLOATS = 2 * LATENT_PAIRS * CK_LATENT_TOKENS,  // of a quick strip: [lower, upper][16 pairs][32 tokens]
    LATENT_ROW_FLOATS = 2 * LATENT_PAIRS,                       // of a query row and strip: [lower, upper][16 pairs]
};

// A product on its way into sums.
typedef struct latent_waiting {
    void (*piece)(const struct latent_waiting *, size_t);
    size_t pieces, done;
    const float *product;
    const float *factors;  // of a quick strip [16 pairs][cosine, sine][32 tokens]; else the basis from the part's first token on
    const float *q;        // [row][lower, upper][16 pairs]
    const float *constants;  // of rows of y, or NULL
    size_t rows, terms;
    float *sums;    // [row][64 tokens], from the product's first token on
    float *scores;  // where sums go after the block's last product; NULL before
    size_t stride, tokens;
} latent_waiting;

static void latent_finish(const latent_waiting *of) {
    for (size_t row = 0; row < of->rows; row++)
        for (size_t t = 0; t < of->tokens; t += LATENT_LANES)
            _mm512_storeu_ps(of->scores + row * of->stride + t, _mm512_load_ps(of->sums + row * CK_KV_TOKENS + t));
}

CK_INLINE void latent_pieces_until(latent_waiting *of, size_t pieces) {
    for (; of->done < pieces; of->done++) of->piece(of, of->done);
}

static void latent_end(latent_waiting *of) {
    latent_pieces_until(of, of->pieces);
    if (of->scores) latent_finish(of);
    *of = (latent_waiting){0};
}

// A row's slow strips, where its sums begin.
static void latent_slow_piece(const latent_waiting *of, size_t row) {
    const float *product = of->product + row * of->terms * CK_KV_TOKENS, *basis = of->factors;
    const float *constants = of->constants ? of->constants + row * of->terms : NULL;
    __m512 sums[LATENT_GROUPS];
    CK_UNROLL
    for (int g = 0; g < LATENT_GROUPS; g++) sums[g] = _mm512_setzero_ps();
    for (size_t j = 0; j < of->terms; j++, product += CK_KV_TOKENS, basis += CK_ATTENTION_CHUNK) {
        CK_UNROLL
        for (int g = 0; g < LATENT_GROUPS; g++)
            sums[g] =
                _mm512_fmadd_ps(_mm512_load_ps(product + g * LATENT_LANES), _mm512_load_ps(basis + g * LATENT_LANES), sums[g]);
        if (!constants) continue;
        CK_UNROLL
        for (int g = 0; g < LATENT_GROUPS; g++)
            sums[g] = _mm512_fmadd_ps(_mm512_set1_ps(constants[j]), _mm512_load_ps(basis + g * LATENT_LANES), sums[g]);
    }
    CK_UNROLL
    for (int g = 0; g < LATENT_GROUPS; g++) _mm512_store_ps(of->sums + row * CK_KV_TOKENS + g * LATENT_LANES, sums[g]);
}

// 32 tokens of a few pairs, turned and multiplied with `rows` query rows.
CK_INLINE void latent_quick_rows(const float *product, const float *angles, const float *q, float *sums, int rows) {
    enum { GROUPS = CK_LATENT_TOKENS / LATENT_LANES };
    __m512 low[LATENT_PIECE_ROWS][GROUPS], high[LATENT_PIECE_ROWS][GROUPS];
    CK_UNROLL
    for (int m = 0; m < rows; m++) CK_UNROLL
    for (int g = 0; g < GROUPS; g++) low[m][g] = high[m][g] = _mm512_setzero_ps();
    CK_UNROLL
    for (int j = 0; j < LATENT_PIECE_PAIRS; j++) {
        __m512 lower[GROUPS], upper[GROUPS];
        CK_UNROLL
        for (int g = 0; g < GROUPS; g++) {
            const float *at = product + j * (int)CK_LATENT_TOKENS + g * LATENT_LANES;
            const float *turn = angles + j * 2 * (int)CK_LATENT_TOKENS + g * LATENT_LANES;
            const __m512 u = _mm512_load_ps(at), v = _mm512_load_ps(at + LATENT_QUICK_FLOATS / 2);
            const __m512 cosine = _mm512_load_ps(turn), sine = _mm512_load_ps(turn + CK_LATENT_TOKENS);
            lower[g] = _mm512_fmsub_ps(u, cosine, _mm512_mul_ps(v, sine));
            upper[g] = _mm512_fmadd_ps(v, cosine, _mm512_mul_ps(u, sine));
        }
        CK_UNROLL
        for (int m = 0; m < rows; m++) {
            const __m512 a = _mm512_set1_ps(q[m * LATENT_ROW_FLOATS + j]);
            const __m512 b = _mm512_set1_ps(q[m * LATENT_ROW_FLOATS + LATENT_PAIRS + j]);
            CK_UNROLL
            for (int g = 0; g < GROUPS; g++) {
                low[m][g] = _mm512_fmadd_ps(lower[g], a, low[m][g]);
                high[m][g] = _mm512_fmadd_ps(upper[g], b, high[m][g]);
            }
        }
    }
    CK_UNROLL
    for (int m = 0; m < rows; m++) CK_UNROLL
    for (int g = 0; g < GROUPS; g++) {
        float *at = sums + m * (int)CK_KV_TOKENS + g * LATENT_LANES;
        _mm512_store_ps(at, _mm512_add_ps(_mm512_load_ps(at), _mm512_add_ps(low[m][g], high[m][g])));
    }
}

static void latent_quick_piece(const latent_waiting *of, size_t piece) {
    enum { QUARTERS = LATENT_PAIRS / LATENT_PIECE_PAIRS };
    const size_t pair = piece % QUARTERS * LATENT_PIECE_PAIRS, row = piece / QUARTERS * LATENT_PIECE_ROWS, left = of->rows - row;
    const float *product = of->product + pair * CK_LATENT_TOKENS, *angles = of->factors + pair * 2 * CK_LATENT_TOKENS;
    const float *q = of->q + row * LATENT_ROW_FLOATS + pair;
    float *sums = of->sums + row * CK_KV_TOKENS;
#define CALL(count) latent_quick_rows(product, angles, q, sums, count)
    CK_FOR_ROWS_4(left < LATENT_PIECE_ROWS ? left : LATENT_PIECE_ROWS, CALL)
#undef CALL
}

// The lines of what is read next, asked for a few at each step.
typedef struct {
    const char *at, *end;
} latent_ahead;

static latent_ahead latent_ahead_of(const ck_kv_span *latents, size_t part, size_t bytes) {
    const char *at = part < ck_kv_parts(latents->tokens) ? latents->parts[part] : latents->next;
    return (latent_ahead){at, at ? at + bytes : NULL};
}

CK_INLINE void latent_ask_ahead(latent_ahead *ahead, size_t lines) {
    const char *at = ahead->at;
    const size_t left = (size_t)(ahead->end - at) / 64, count = lines < left ? lines : left;
    for (size_t i = 0; i < count; i++) _mm_prefetch(at + 64 * i, _MM_HINT_T0);
    ahead->at = at + 64 * count;
}

// How much of what waits is due after each step.
typedef struct {
    latent_waiting *waiting;
    size_t steps, credit;
    latent_ahead *ahead;
    size_t lines;
} latent_pace;

CK_INLINE void latent_keep_pace(latent_pace *pace) {
    latent_waiting *of = pace->waiting;
    latent_ask_ahead(pace->ahead, pace->lines);
    for (pace->credit += of->pieces; pace->credit >= pace->steps; pace->credit -= pace->steps)
        if (of->done < of->pieces) of->piece(of, of->done++);
}

// A tile of y by the latents of a part.
CK_INLINE void latent_multiply_slow(const char *y, const char *lanes, size_t steps, float *c, latent_pace *pace) {
    const size_t group = steps * LATENT_TILE_BYTES;
    ck_tile_zero(0);
    ck_tile_zero(1);
    ck_tile_zero(2);
    ck_tile_zero(3);
    for (size_t step = 0; step < steps; step++, y += LATENT_TILE_BYTES, lanes += LATENT_TILE_BYTES) {
        ck_tile_load(4, y, 64);
        ck_tile_load(5, lanes, 64);
        ck_tile_dot_bf16(0, 4, 5);
        ck_tile_load(6, lanes + group, 64);
        ck_tile_dot_bf16(1, 4, 6);
        ck_tile_load(7, lanes + 2 * group, 64);
        ck_tile_dot_bf16(2, 4, 7);
        ck_tile_load(5, lanes + 3 * group, 64);
        ck_tile_dot_bf16(3, 4, 5);
        latent_keep_pace(pace);
    }
    ck_tile_store(0, c, 4 * CK_KV_TOKENS);
    ck_tile_store(1, c + LATENT_LANES, 4 * CK_KV_TOKENS);
    ck_tile_store(2, c + 2 * LATENT_LANES, 4 * CK_KV_TOKENS);
    ck_tile_store(3, c + 3 * LATENT_LANES, 4 * CK_KV_TOKENS);
}

// Lower and upper elements of a strip by 32 tokens. start: two tiles that C begins with, or NULL.
CK_INLINE void latent_multiply_quick(const char *b, const char *lanes, size_t steps, const char *start, float *c,
                                     latent_pace *pace) {
    const size_t group = steps * LATENT_TILE_BYTES;
    if (start) {
        ck_tile_load(0, start, 64);
        ck_tile_load(1, start, 64);
        ck_tile_load(2, start + LATENT_TILE_BYTES, 64);
        ck_tile_load(3, start + LATENT_TILE_BYTES, 64);
    } else {
        ck_tile_zero(0);
        ck_tile_zero(1);
        ck_tile_zero(2);
        ck_tile_zero(3);
    }
    for (size_t step = 0; step < steps; step++, b += 2 * LATENT_TILE_BYTES, lanes += LATENT_TILE_BYTES) {
        ck_tile_load(4, b, 64);
        ck_tile_load(6, lanes, 64);
        ck_tile_dot_bf16(0, 4, 6);
        ck_tile_load(7, lanes + group, 64);
        ck_tile_dot_bf16(1, 4, 7);
        ck_tile_load(5, b + LATENT_TILE_BYTES, 64);
        ck_tile_dot_bf16(2, 5, 6);
        ck_tile_dot_bf16(3, 5, 7);
        latent_keep_pace(pace);
    }
    ck_tile_store(0, c, 4 * CK_LATENT_TOKENS);
    ck_tile_store(1, c + LATENT_LANES, 4 * CK_LATENT_TOKENS);
    ck_tile_store(2, c + LATENT_QUICK_FLOATS / 2, 4 * CK_LATENT_TOKENS);
    ck_tile_store(3, c + LATENT_QUICK_FLOATS / 2 + LATENT_LANES, 4 * CK_LATENT_TOKENS);
}

// Scratch of a call.
typedef struct {
    latent_term_room terms;
    float *first;      // queries turned back to the chunk's first token: [row][strip][lower, upper][16 pairs]
    float *turned[2];  // those of a head to each block of a part: [block][quick strip][row][lower, upper][16 pairs]
    char *y;           // [head][tile][step]
    float *constants;  // [head][tile][16]
    float *starts;     // [strip][lower, upper] tiles of a bias
    float *slow, *quick[2], *sums;
} latent_room;

static float *latent_take(ck_room *scratch, size_t floats) { return ck_room_take(scratch, floats * sizeof(float)); }

static size_t latent_lay_out(const ck_latent_group *group, size_t rows, void *scratch, latent_room *room) {
    const size_t strips = ck_latent_strips(group->dim), steps = ck_latent_steps(group->rank), head_rows = rows / group->heads;
    const size_t tiles = latent_term_tiles_at_most(head_rows), tile_floats = LATENT_TILE_BYTES / sizeof(float);
    ck_room at = {scratch, 0};
    room->first = latent_take(&at, rows * strips * LATENT_ROW_FLOATS);
    for (int i = 0; i < 2; i++) room->turned[i] = latent_take(&at, LATENT_BLOCKS * head_rows * strips * LATENT_ROW_FLOATS);
    room->y = (char *)latent_take(&at, group->heads * tiles * steps * tile_floats);
    room->constants = latent_take(&at, group->heads * tiles * TERM_ROWS);
    room->starts = latent_take(&at, group->bias ? group->heads * strips * 2 * tile_floats : 0);
    room->slow = latent_take(&at, tiles * LATENT_SLOW_FLOATS);
    for (int i = 0; i < 2; i++) room->quick[i] = latent_take(&at, LATENT_QUICK_FLOATS);
    room->sums = latent_take(&at, head_rows * CK_KV_TOKENS);
    room->terms.g = (char *)latent_take(&at, tiles * strips * tile_floats);
    room->terms.b = (char *)latent_take(&at, 2 * strips * tile_floats);
    room->terms.c = latent_take(&at, 4 * tile_floats);
    return at.bytes;
}

static void latent_turn_back(__m512 low, __m512 high, const float *cosines, const float *sines, float *target) {
    const __m512 cosine = _mm512_loadu_ps(cosines), sine = _mm512_loadu_ps(sines);
    _mm512_store_ps(target, _mm512_fmadd_ps(low, cosine, _mm512_mul_ps(high, sine)));
    _mm512_store_ps(target + LATENT_PAIRS, _mm512_fmsub_ps(high, cosine, _mm512_mul_ps(low, sine)));
}

static void latent_turn_to_first(const ck_latent_group *group, const ck_attention_queries *queries, const float *origin,
                                 float *target) {
    const size_t pairs = ck_latent_strips(group->dim) * LATENT_PAIRS, turning = group->rotated / 2;
    for (size_t row = 0; row < queries->rows; row++)
        for (size_t pair = 0; pair < pairs; pair += LATENT_PAIRS, target += LATENT_ROW_FLOATS) {
            const float *q = queries->q + row * queries->stride, *lower = q + pair, *upper = q + turning + pair;
            float low[LATENT_PAIRS], high[LATENT_PAIRS];
            if (group->pairing != CK_PAIRS_HALVES || pair + LATENT_PAIRS > turning) {
                for (size_t i = 0; i < LATENT_PAIRS; i++) {
                    const int inside = pair + i < group->dim / 2;
                    low[i] = inside ? q[ck_latent_element(group, pair + i, 0)] : 0;
                    high[i] = inside ? q[ck_latent_element(group, pair + i, 1)] : 0;
                }
                lower = low, upper = high;
            }
            latent_turn_back(_mm512_loadu_ps(lower), _mm512_loadu_ps(upper), origin + pair, origin + pairs + pair, target);
        }
}

// The quick strips of a head's rows, turned back to a block.
static void latent_turn_to_block(const latent_terms *terms, const float *first, size_t rows, size_t strips, const float *angles,
                                 float *target) {
    for (size_t i = 0; i < terms->quick; i++)
        for (size_t row = 0; row < rows; row++, target += LATENT_ROW_FLOATS) {
            const float *at = first + (row * strips + terms->order[i]) * LATENT_ROW_FLOATS;
            const float *cosines = angles + terms->order[i] * LATENT_PAIRS;
            latent_turn_back(_mm512_load_ps(at), _mm512_load_ps(at + LATENT_PAIRS), cosines, cosines + strips * LATENT_PAIRS,
                             target);
        }
}

// Tiles of a bias: of every element its bias for 16 tokens.
static void latent_make_starts(const ck_latent_group *group, float *starts) {
    const size_t elements = group->heads * ck_latent_strips(group->dim) * 2 * LATENT_PAIRS;
    for (size_t i = 0; i < elements; i++) _mm512_store_ps(starts + LATENT_LANES * i, _mm512_set1_ps(group->bias[i]));
}

typedef struct {
    const ck_latent_group *group;
    const ck_latent_angles *angles;
    const ck_kv_span *latents;
    float *scores;
    size_t stride, rows, strips, steps;
    latent_room room;
    latent_waiting waiting;
    size_t turn, block_turn;
} latent_work;

// The slow strips of a head and a part, where its sums begin.
static void latent_head_slow(latent_work *w, size_t part, size_t head, const char *lanes, latent_ahead *ahead, size_t lines) {
    const latent_room *room = &w->room;
    const latent_terms *terms = &room->terms.terms;
    const size_t most_tiles = latent_term_tiles_at_most(w->rows), tokens = ck_kv_part_tokens(w->latents, part);
    latent_pace pace = {&w->waiting, room->terms.tiles * w->steps, 0, ahead, lines};
    for (size_t tile = 0; tile < room->terms.tiles; tile++)
        latent_multiply_slow(room->y + (head * most_tiles + tile) * w->steps * LATENT_TILE_BYTES, lanes, w->steps,
                             room->slow + tile * LATENT_SLOW_FLOATS, &pace);
    ck_tile_fence();
    latent_end(&w->waiting);
    w->waiting = (latent_waiting){
        .piece = latent_slow_piece,
        .pieces = w->rows,
        .product = room->slow,
        .factors = terms->basis + part * CK_KV_TOKENS,
        .constants = w->group->bias ? room->constants + head * most_tiles * TERM_ROWS : NULL,
        .rows = w->rows,
        .terms = terms->terms,
        .sums = room->sums,
        .scores = terms->quick == 0 ? w->scores + head * w->rows * w->stride + part * CK_KV_TOKENS : NULL,
        .stride = w->stride,
        .tokens = tokens,
    };
}

// The quick strips of a block of a part.
static void latent_head_quick(latent_work *w, size_t part, size_t block, size_t head, const char *lanes, latent_ahead *ahead,
                              size_t lines) {
    const latent_room *room = &w->room;
    const latent_terms *terms = &room->terms.terms;
    const size_t row_floats = w->strips * LATENT_ROW_FLOATS, slot = block * CK_LATENT_TOKENS;
    float *turned = room->turned[w->block_turn ^= 1];
    latent_turn_to_block(terms, room->first + head * w->rows * row_floats, w->rows, w->strips,
                         ck_latent_block_angles(w->angles, w->group->dim, part * LATENT_BLOCKS + block), turned);
    for (size_t i = 0; i < terms->quick; i++, w->turn ^= 1) {
        const size_t strip = terms->order[i], left = ck_kv_part_tokens(w->latents, part) - slot;
        const char *starts = (const char *)room->starts + (head * w->strips + strip) * 2 * LATENT_TILE_BYTES;
        latent_pace pace = {&w->waiting, w->steps, 0, ahead, lines};
        latent_multiply_quick(ck_latent_b(w->group, head, strip), lanes + slot / LATENT_LANES * w->steps * LATENT_TILE_BYTES,
                              w->steps, w->group->bias ? starts : NULL, room->quick[w->turn], &pace);
        ck_tile_fence();
        latent_end(&w->waiting);
        float *scores = w->scores + head * w->rows * w->stride + part * CK_KV_TOKENS + slot;
        w->waiting = (latent_waiting){
            .piece = latent_quick_piece,
            .pieces = LATENT_PAIRS / LATENT_PIECE_PAIRS * ((w->rows + LATENT_PIECE_ROWS - 1) / LATENT_PIECE_ROWS),
            .product = room->quick[w->turn],
            .factors = ck_latent_token_angles(w->angles, w->group->dim, part * LATENT_BLOCKS + block, strip),
            .q = turned + i * w->rows * LATENT_ROW_FLOATS,
            .rows = w->rows,
            .sums = room->sums + slot,
            .scores = i + 1 == terms->quick ? scores : NULL,
            .stride = w->stride,
            .tokens = left < CK_LATENT_TOKENS ? left : CK_LATENT_TOKENS,
        };
    }
}

static void latent_part(latent_work *w, size_t part, const char *lanes, latent_ahead *ahead) {
    const size_t blocks = (ck_kv_part_tokens(w->latents, part) + CK_LATENT_TOKENS - 1) / CK_LATENT_TOKENS;
    const size_t quick = w->room.terms.terms.quick;
    const size_t lines = (size_t)(ahead->end - ahead->at) / 64, turns = w->group->heads * (w->room.terms.tiles + blocks * quick);
    const size_t share = (lines + turns * w->steps - 1) / (turns * w->steps);
    for (size_t head = 0; head < w->group->heads; head++) {
        latent_head_slow(w, part, head, lanes, ahead, share);
        for (size_t block = 0; quick > 0 && block < blocks; block++) latent_head_quick(w, part, block, head, lanes, ahead, share);
    }
}

static void latent_keys_run(const ck_latent_group *group, const ck_latent_angles *angles, const ck_kv_span *latents,
                            const ck_attention_queries *queries, float *scores, size_t stride, void *scratch) {
    ck_tile_config config = {.palette = 1};
    for (int tile = 0; tile < 8; tile++) ck_tile_shape(&config, tile, 16, 64);
    ck_tile_configure(&config);
    const size_t steps = ck_latent_steps(group->rank), strips = ck_latent_strips(group->dim);
    const size_t part_bytes = ck_kv_part_bytes(CK_KV_LATENT_BF16, latents->dim);
    latent_ahead ahead = latent_ahead_of(latents, 0, part_bytes);
    latent_ask_ahead(&ahead, part_bytes / 64);
    latent_work w = {.group = group,
                     .angles = angles,
                     .latents = latents,
                     .scores = scores,
                     .stride = stride,
                     .rows = queries->rows / group->heads,
                     .strips = strips,
                     .steps = steps};
    latent_room *room = &w.room;
    latent_lay_out(group, queries->rows, scratch, room);
    latent_term_room *terms = &room->terms;
    terms->terms = ck_latent_terms(angles, group->dim);
    terms->strips = strips, terms->steps = steps, terms->slow = strips - terms->terms.quick;
    terms->rows = w.rows, terms->tiles = latent_term_tiles(&terms->terms, w.rows);
    const size_t most_tiles = latent_term_tiles_at_most(w.rows);
    latent_turn_to_first(group, queries, angles->origin, room->first);
    if (group->bias) latent_make_starts(group, room->starts);
    for (size_t head = 0; head < group->heads; head++)
        latent_make_terms(terms, ck_latent_b(group, head, 0), room->first + head * w.rows * strips * LATENT_ROW_FLOATS,
                          ck_latent_bias(group, head, 0), room->y + head * most_tiles * steps * LATENT_TILE_BYTES,
                          room->constants + head * most_tiles * TERM_ROWS);
    for (size_t part = 0; part < ck_kv_parts(latents->tokens); part++) {
        ahead = latent_ahead_of(latents, part + 1, part_bytes);
        latent_part(&w, part, latents->parts[part], &ahead);
    }
    latent_end(&w.waiting);
    ck_tile_release();
}
