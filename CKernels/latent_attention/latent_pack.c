// B, its bias and the angles on their way into the layouts of ck_latent_attention.h.
#include <math.h>
#include "latent_attention/latent_layout.h"
#include "support/bf16.h"

ck_status ck_latent_validate(const ck_latent_group *group) {
    if (group->rank == 0 || group->dim == 0 || group->heads == 0) return CK_ERR_SHAPE;
    if (group->dim % 2 || group->rotated % 2 || group->rotated > group->dim) return CK_ERR_SHAPE;
    if (group->pairing != CK_PAIRS_HALVES && group->pairing != CK_PAIRS_INTERLEAVED) return CK_ERR_SHAPE;
    const size_t most = SIZE_MAX / 8;
    if (group->rank > most || group->dim > most / group->heads) return CK_ERR_SHAPE;
    const size_t rows = group->heads * ck_latent_strips(group->dim), line = ck_latent_steps(group->rank);
    if (rows > most / LATENT_TILE_BYTES || line > most / LATENT_TILE_BYTES / rows) return CK_ERR_SHAPE;
    return CK_OK;
}

size_t ck_latent_packed_bytes(const ck_latent_group *group) {
    return group->heads * ck_latent_strips(group->dim) * ck_latent_steps(group->rank) * 2 * LATENT_TILE_BYTES;
}

size_t ck_latent_packed_bias_bytes(const ck_latent_group *group) {
    return group->heads * ck_latent_strips(group->dim) * 2 * LATENT_PAIRS * sizeof(float);
}

// The 32 ranks of one element within a tile of step 0; the next step is 2 tiles further.
static uint16_t *line_of(const ck_latent_group *group, const void *b, size_t head, size_t pair, size_t half) {
    const size_t tiles = (head * ck_latent_strips(group->dim) + pair / LATENT_PAIRS) * ck_latent_steps(group->rank) * 2 + half;
    return (uint16_t *)((char *)b + tiles * LATENT_TILE_BYTES) + pair % LATENT_PAIRS * LATENT_STEP_RANKS;
}

static size_t in_line(size_t rank) { return rank / LATENT_STEP_RANKS * LATENT_TILE_BYTES + rank % LATENT_STEP_RANKS; }

void ck_latent_pack(const ck_latent_group *group, const float *w, size_t stride, void *b) {
    memset(b, 0, ck_latent_packed_bytes(group));
    for (size_t head = 0; head < group->heads; head++)
        for (size_t i = 0; i < group->dim; i++) {
            const float *row = w + (head * group->dim + ck_latent_element(group, i / 2, i % 2)) * stride;
            uint16_t *line = line_of(group, b, head, i / 2, i % 2);
            for (size_t r = 0; r < group->rank; r++) line[in_line(r)] = ck_bf16_from_f32(row[r]);
        }
}

void ck_latent_unpack(const ck_latent_group *group, uint16_t *w, size_t stride) {
    for (size_t head = 0; head < group->heads; head++)
        for (size_t i = 0; i < group->dim; i++) {
            uint16_t *row = w + (head * group->dim + ck_latent_element(group, i / 2, i % 2)) * stride;
            const uint16_t *line = line_of(group, group->b, head, i / 2, i % 2);
            for (size_t r = 0; r < group->rank; r++) row[r] = line[in_line(r)];
        }
}

void ck_latent_pack_bias(const ck_latent_group *group, const float *bias, float *packed) {
    memset(packed, 0, ck_latent_packed_bias_bytes(group));
    for (size_t head = 0; head < group->heads; head++)
        for (size_t i = 0; i < group->dim; i++) {
            const size_t strip = head * ck_latent_strips(group->dim) + i / 2 / LATENT_PAIRS;
            packed[(strip * 2 + i % 2) * LATENT_PAIRS + i / 2 % LATENT_PAIRS] =
                bias[head * group->dim + ck_latent_element(group, i / 2, i % 2)];
        }
}

size_t ck_latent_table_bytes(size_t dim) {
    const size_t strips = ck_latent_strips(dim), order = (2 + strips + LATENT_PAIRS - 1) / LATENT_PAIRS * LATENT_PAIRS;
    const size_t terms = LATENT_MOST_TERMS * (CK_ATTENTION_CHUNK + 2 * strips * LATENT_PAIRS);
    return (ck_latent_angle_floats(dim) + terms + order) * sizeof(float);
}

size_t ck_latent_origin_bytes(size_t dim) { return ck_latent_strips(dim) * LATENT_PAIRS * 2 * sizeof(float); }

static const double half_turn = 3.14159265358979323846, middle = (CK_ATTENTION_CHUNK - 1) / 2.0;

// Terms for a pair that turns by `frequency` a token. Seen from the middle of a chunk the angle is at most a; the coefficients of
// Chebyshev's polynomials are twice Bessel's functions J_k(a), and |J_k(a)| is at most (a / 2)^k / k!.
static size_t terms_for(double frequency) {
    enum { TAIL = 40 };
    const double half = fabs(frequency) * middle / 2;
    for (size_t terms = 1; terms <= LATENT_MOST_TERMS; terms++) {
        double power = 1, tail = 0;
        for (size_t k = 1; k < terms + TAIL; k++) {
            power *= half / (double)k;
            if (k >= terms) tail += 2 * power;
        }
        if (tail <= LATENT_TERM_ERROR) return terms;
    }
    return LATENT_MOST_TERMS + 1;
}

// From the values at the zeros of a polynomial of higher degree, which is exact to double precision.
static void make_coefficients(double frequency, size_t pair, size_t pairs, float *coefficients) {
    enum { ZEROS = 32 };
    for (size_t j = 0; j < LATENT_MOST_TERMS; j++) {
        double cosine = 0, sine = 0;
        for (size_t k = 0; k < ZEROS; k++) {
            const double at = half_turn * ((double)k + 0.5) / ZEROS, t = middle * (1 + cos(at)), weight = cos((double)j * at);
            cosine += cos(frequency * t) * weight;
            sine += sin(frequency * t) * weight;
        }
        const double scale = (j == 0 ? 1.0 : 2.0) / ZEROS;
        coefficients[2 * j * pairs + pair] = (float)(cosine * scale);
        coefficients[(2 * j + 1) * pairs + pair] = (float)(sine * scale);
    }
}

static void make_terms(const double *frequencies, size_t turning, size_t dim, float *table) {
    const size_t strips = ck_latent_strips(dim), pairs = strips * LATENT_PAIRS;
    float *basis = table + ck_latent_angle_floats(dim), *coefficients = basis + LATENT_MOST_TERMS * CK_ATTENTION_CHUNK;
    uint32_t *counts = (uint32_t *)(void *)(coefficients + LATENT_MOST_TERMS * 2 * pairs), *order = counts + 2;
    size_t terms = 0, quick = 0, slow = strips;
    for (size_t strip = strips; strip-- > 0;) {
        size_t most = 1;
        for (size_t pair = strip * LATENT_PAIRS; pair < (strip + 1) * LATENT_PAIRS && pair < turning; pair++) {
            const size_t own = terms_for(frequencies[pair]);
            if (own > most) most = own;
        }
        if (most > LATENT_MOST_TERMS) continue;
        order[--slow] = (uint32_t)strip;
        if (most > terms) terms = most;
    }
    for (size_t strip = 0, next = slow; strip < strips; strip++)
        if (next < strips && order[next] == strip) next++;
        else order[quick++] = (uint32_t)strip;
    counts[0] = (uint32_t)terms;
    counts[1] = (uint32_t)quick;
    for (size_t pair = 0; pair < pairs; pair++)
        make_coefficients(pair < turning ? frequencies[pair] : 0, pair, pairs, coefficients);
    for (size_t j = 0; j < LATENT_MOST_TERMS; j++)
        for (size_t t = 0; t < CK_ATTENTION_CHUNK; t++)
            basis[j * CK_ATTENTION_CHUNK + t] = (float)cos((double)j * acos(((double)t - middle) / middle));
}

void ck_latent_make_table(const double *frequencies, size_t rotated, size_t dim, float *table) {
    const size_t pairs = ck_latent_strips(dim) * LATENT_PAIRS;
    for (size_t pair = 0; pair < pairs; pair++)
        for (size_t t = 0; t < CK_LATENT_TOKENS; t++) {
            const double angle = pair < rotated / 2 ? frequencies[pair] * (double)t : 0;
            table[(2 * pair) * CK_LATENT_TOKENS + t] = (float)cos(angle);
            table[(2 * pair + 1) * CK_LATENT_TOKENS + t] = (float)sin(angle);
        }
    float *rows = table + pairs * 2 * CK_LATENT_TOKENS;
    for (size_t block = 0; block < LATENT_CHUNK_BLOCKS; block++, rows += 2 * pairs)
        ck_latent_make_origin(frequencies, rotated, dim, block * CK_LATENT_TOKENS, rows);
    for (size_t t = 0; t < CK_LATENT_TOKENS; t++, rows += 2 * pairs) ck_latent_make_origin(frequencies, rotated, dim, t, rows);
    make_terms(frequencies, rotated / 2, dim, table);
}

void ck_latent_make_origin(const double *frequencies, size_t rotated, size_t dim, size_t position, float *origin) {
    const size_t pairs = ck_latent_strips(dim) * LATENT_PAIRS;
    for (size_t pair = 0; pair < pairs; pair++) {
        const double angle = pair < rotated / 2 ? frequencies[pair] * (double)position : 0;
        origin[pair] = (float)cos(angle);
        origin[pairs + pair] = (float)sin(angle);
    }
}

size_t ck_latent_gathered_bytes(size_t dim) {
    return CK_ATTENTION_CHUNK * ck_latent_strips(dim) * LATENT_PAIRS * 2 * sizeof(float);
}

// 16 cosines and 16 sines of a sum of three angles.
static void add_angles(const float *a, const float *b, const float *c, size_t sines, float *cosine, float *sine) {
    for (size_t i = 0; i < LATENT_PAIRS; i++) {
        const float u = a[i] * b[i] - a[sines + i] * b[sines + i], v = a[sines + i] * b[i] + a[i] * b[sines + i];
        cosine[i] = u * c[i] - v * c[sines + i];
        sine[i] = v * c[i] + u * c[sines + i];
    }
}

void ck_latent_gather_angles(const float *table, const float *origins, size_t dim, const uint32_t *positions, size_t tokens,
                             float *gathered) {
    const size_t pairs = ck_latent_strips(dim) * LATENT_PAIRS, row = 2 * pairs;
    const float *blocks = table + row * CK_LATENT_TOKENS, *within = blocks + row * LATENT_CHUNK_BLOCKS;
    for (size_t i = 0; i < tokens; i++) {
        const size_t position = positions[i], offset = position % CK_ATTENTION_CHUNK;
        const float *a = origins + position / CK_ATTENTION_CHUNK * row, *b = blocks + offset / CK_LATENT_TOKENS * row;
        const float *c = within + offset % CK_LATENT_TOKENS * row;
        float *target = gathered + i / CK_LATENT_TOKENS * row * CK_LATENT_TOKENS + i % CK_LATENT_TOKENS;
        for (size_t pair = 0; pair < pairs; pair += LATENT_PAIRS) {
            float cosine[LATENT_PAIRS], sine[LATENT_PAIRS];
            add_angles(a + pair, b + pair, c + pair, pairs, cosine, sine);
            for (size_t k = 0; k < LATENT_PAIRS; k++, target += 2 * CK_LATENT_TOKENS) {
                target[0] = cosine[k];
                target[CK_LATENT_TOKENS] = sine[k];
            }
        }
    }
}
