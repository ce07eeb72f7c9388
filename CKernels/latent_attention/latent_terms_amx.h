// Slow strips of the AMX kernels. Their cosines and sines are polynomials of the token (latent_layout.h), so they move to the
// query's side, as they do where nothing turns at all:
//
//     sum over pairs of q . R(t) (B latent)  =  sum over terms j of basis[j][t] (y[j] . latent)
//
//     y[j] = sum over pairs of G[j] B        G[j] = (cosine[j] lower + sine[j] upper, cosine[j] upper - sine[j] lower)
//
// lower and upper being the query's elements, turned back to the chunk's first token. A query row takes `terms` rows of y in
// place of 32 elements of every slow strip, and nothing is left to turn. G and y are rounded to bf16, as other kernels round q.
// Include inside an ISA region, after support/tile.h.
#pragma once
#include "latent_attention/latent_layout.h"

enum { TERM_ROWS = 16 };

typedef struct {
    latent_terms terms;
    size_t strips, slow, steps;
    size_t rows, tiles;  // query rows of a head; tiles of 16 rows of y
    char *g;             // [tile][slow strip][16 rows of y][16 lower, 16 upper] bf16
    char *b;             // of a step: [slow strip][two halves of 32 ranks][16 pairs of elements][16 ranks][2]
    float *c;            // [2 tiles][two halves][16 rows][16 ranks]
} latent_term_room;

CK_INLINE size_t latent_term_tiles(const latent_terms *terms, size_t rows) {
    return (rows * terms->terms + TERM_ROWS - 1) / TERM_ROWS;
}

// For any table.
CK_INLINE size_t latent_term_tiles_at_most(size_t rows) { return (rows * LATENT_MOST_TERMS + TERM_ROWS - 1) / TERM_ROWS; }

// first: [row][strip][lower, upper][16 pairs]. With a bias, constants[row of y] is what it adds to y . latent.
static void latent_terms_of_queries(const latent_term_room *room, const float *first, const float *bias, float *constants) {
    const latent_terms *terms = &room->terms;
    const size_t pairs = room->strips * LATENT_PAIRS, used = room->rows * terms->terms;
    for (size_t i = 0; i < room->tiles * TERM_ROWS; i++) {
        const size_t row = i / terms->terms, term = i % terms->terms;
        const float *cosines = terms->coefficients + 2 * term * pairs, *sines = cosines + pairs;
        __m512 constant = _mm512_setzero_ps();
        for (size_t s = 0; s < room->slow; s++) {
            char *target = room->g + ((i / TERM_ROWS * room->slow + s) * TERM_ROWS + i % TERM_ROWS) * 64;
            if (i >= used) {
                _mm512_store_si512(target, _mm512_setzero_si512());
                continue;
            }
            const size_t strip = terms->order[terms->quick + s];
            const float *at = first + (row * room->strips + strip) * 2 * LATENT_PAIRS;
            const __m512 low = _mm512_load_ps(at), high = _mm512_load_ps(at + LATENT_PAIRS);
            const __m512 cosine = _mm512_load_ps(cosines + strip * LATENT_PAIRS),
                         sine = _mm512_load_ps(sines + strip * LATENT_PAIRS);
            const __m512 lower = _mm512_fmadd_ps(low, cosine, _mm512_mul_ps(high, sine));
            const __m512 upper = _mm512_fmsub_ps(high, cosine, _mm512_mul_ps(low, sine));
            _mm512_store_si512(target, (__m512i)_mm512_cvtne2ps_pbh(upper, lower));
            if (!bias) continue;
            const float *own = bias + strip * 2 * LATENT_PAIRS;
            constant = _mm512_fmadd_ps(lower, _mm512_load_ps(own), constant);
            constant = _mm512_fmadd_ps(upper, _mm512_load_ps(own + LATENT_PAIRS), constant);
        }
        constants[i] = _mm512_reduce_add_ps(constant);
    }
}

// Two lines of B, elements side by side, become a row of each half.
static void latent_term_matrix(const latent_term_room *room, const char *b, size_t step) {
    for (size_t s = 0; s < room->slow; s++) {
        const char *from = b + (room->terms.order[room->terms.quick + s] * room->steps + step) * 2 * LATENT_TILE_BYTES;
        char *to = room->b + s * 2 * LATENT_TILE_BYTES;
        for (size_t k = 0; k < TERM_ROWS; k++, from += 128, to += 64) {
            const __m512i one = _mm512_load_si512(from), two = _mm512_load_si512(from + 64);
            _mm512_store_si512(to, _mm512_unpacklo_epi16(one, two));
            _mm512_store_si512(to + LATENT_TILE_BYTES, _mm512_unpackhi_epi16(one, two));
        }
    }
    ck_tile_fence();
}

// y of one or two tiles, 32 ranks of it, in the order of ranks.
CK_INLINE void latent_term_step(const latent_term_room *room, size_t tile, char *y, size_t y_stride, int tiles) {
    ck_tile_zero(0);
    ck_tile_zero(1);
    if (tiles > 1) ck_tile_zero(2);
    if (tiles > 1) ck_tile_zero(3);
    const char *g = room->g + tile * room->slow * LATENT_TILE_BYTES;
    for (size_t s = 0; s < room->slow; s++, g += LATENT_TILE_BYTES) {
        ck_tile_load(4, g, 64);
        ck_tile_load(6, room->b + 2 * s * LATENT_TILE_BYTES, 64);
        ck_tile_load(7, room->b + (2 * s + 1) * LATENT_TILE_BYTES, 64);
        ck_tile_dot_bf16(0, 4, 6);
        ck_tile_dot_bf16(1, 4, 7);
        if (tiles == 1) continue;
        ck_tile_load(5, g + room->slow * LATENT_TILE_BYTES, 64);
        ck_tile_dot_bf16(2, 5, 6);
        ck_tile_dot_bf16(3, 5, 7);
    }
    char *c = (char *)room->c;
    ck_tile_store(0, c, 64);
    ck_tile_store(1, c + LATENT_TILE_BYTES, 64);
    if (tiles > 1) ck_tile_store(2, c + 2 * LATENT_TILE_BYTES, 64);
    if (tiles > 1) ck_tile_store(3, c + 3 * LATENT_TILE_BYTES, 64);
    ck_tile_fence();
    const __m512i first = _mm512_setr_epi32(0, 1, 2, 3, 16, 17, 18, 19, 4, 5, 6, 7, 20, 21, 22, 23);
    const __m512i second = _mm512_add_epi32(first, _mm512_set1_epi32(8));
    for (int t = 0; t < tiles; t++)
        for (size_t row = 0; row < TERM_ROWS; row++) {
            const char *at = c + 2 * t * LATENT_TILE_BYTES + row * 64;
            const __m512 low = _mm512_load_ps(at), high = _mm512_load_ps(at + LATENT_TILE_BYTES);
            const __m512 lower = _mm512_permutex2var_ps(low, first, high), upper = _mm512_permutex2var_ps(low, second, high);
            _mm512_store_si512(y + (size_t)t * y_stride + row * 64, (__m512i)_mm512_cvtne2ps_pbh(upper, lower));
        }
}

// y of a head, [tile][step][16 rows][32 ranks] bf16, from its tiles of B.
static void latent_make_terms(const latent_term_room *room, const char *b, const float *first, const float *bias, char *y,
                              float *constants) {
    if (room->tiles == 0) return;
    const size_t y_stride = room->steps * LATENT_TILE_BYTES;
    latent_terms_of_queries(room, first, bias, constants);
    for (size_t step = 0; step < room->steps; step++) {
        latent_term_matrix(room, b, step);
        for (size_t tile = 0; tile < room->tiles; tile += 2) {
            char *target = y + tile * y_stride + step * LATENT_TILE_BYTES;
            if (tile + 1 < room->tiles) latent_term_step(room, tile, target, y_stride, 2);
            else latent_term_step(room, tile, target, y_stride, 1);
        }
    }
    ck_tile_fence();
}
