#include "attention_checks.h"
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "ck_attention.h"

static uint32_t state = 1;
static size_t compared;

static int random_integer(int low, int high) {
    state = state * 1664525u + 1013904223u;
    return low + (int)((state >> 8) % (uint32_t)(high - low + 1));
}

static void *allocate(size_t bytes) {
    void *memory = aligned_alloc(64, (bytes + 127) / 64 * 64);
    if (!memory) {
        fprintf(stderr, "attention_checks: no memory for %zu bytes\n", bytes);
        exit(1);
    }
    return memset(memory, 0, (bytes + 127) / 64 * 64);
}

static void compare(const char *name, const float *got, const double *expected, size_t rows, size_t columns, size_t stride) {
    for (size_t row = 0; row < rows; row++)
        for (size_t column = 0; column < columns; column++) {
            compared++;
            if (got[row * stride + column] == (float)expected[row * columns + column]) continue;
            fprintf(stderr, "attention_checks: %s gives %g instead of %g in row %zu of %zu, column %zu of %zu\n", name,
                    (double)got[row * stride + column], expected[row * columns + column], row, rows, column, columns);
            exit(1);
        }
}

// `tokens` rows of `dim` integers, each with one that makes the step of an int8 row 1; the rows behind them are NaN.
typedef struct {
    ck_kv_span span;
    float *rows;
    void *parts[CK_ATTENTION_CHUNK / CK_KV_TOKENS];
} cache;

// What every format holds exactly: integers, of which the first is the largest; for RaZeR the values of its codes, 6 and 5 being
// the first of each group; for sparse rows every fourth of them, the others being 0.
static float element(ck_kv_type type, size_t channel) {
    static const float values[] = {0, 0.5f, 1, 1.5f, 2, 3, 4, 5, 6, -0.5f, -1, -1.5f, -2, -3, -4, -6};
    if (type == CK_KV_RAZER_KEYS || type == CK_KV_RAZER_VALUES)
        return channel % 16 == 0 ? 6 : channel % 16 == 1 ? 5 : values[random_integer(0, 15)];
    if ((type == CK_KV_SPARSE50 || type == CK_KV_SPARSE70) && channel % 4 != 0) return 0;
    return (float)(channel == 0 ? 127 : random_integer(-127, 127));
}

static cache make_cache(ck_kv_type type, size_t tokens, size_t dim) {
    cache c = {.span = {.tokens = tokens, .dim = dim}, .rows = allocate(tokens * dim * sizeof(float))};
    for (size_t i = 0; i < tokens * dim; i++) c.rows[i] = element(type, i % dim);
    for (size_t part = 0; part * CK_KV_TOKENS < tokens; part++) {
        c.parts[part] = allocate(ck_kv_part_bytes(type, dim));
        memset(c.parts[part], 0xFF, ck_kv_part_bytes(type, dim));
    }
    for (size_t t = 0; t < tokens; t++) ck_kv_write(type, dim, c.parts[t / CK_KV_TOKENS], t % CK_KV_TOKENS, c.rows + t * dim);
    return c;
}

static void free_cache(cache *c) {
    for (size_t part = 0; part * CK_KV_TOKENS < c->span.tokens; part++) free(c->parts[part]);
    free(c->rows);
}

// Queries that every kernel multiplies exactly: small integers, or for int8 keys integers of up to 32639, the most steps, beside
// one of those. Their sums are exact until they are rounded to fp32.
static float query(ck_kv_type type, size_t channel) {
    if (type != CK_KV_INT8) return (float)random_integer(-4, 4);
    return (float)(channel == 0 ? 32639 : random_integer(-32639, 32639));
}

// The same of probabilities: for int8 values the first of each part is 32639, and sums stay below 2^24.
static float probability(ck_kv_type type, size_t token) {
    if (type != CK_KV_INT8) return (float)random_integer(0, 4) / 4;
    return (float)(token % CK_KV_TOKENS == 0 ? 32639 : random_integer(0, 3));
}

static void check_keys(ck_kv_type type, size_t rows, size_t tokens, size_t dim) {
    cache c = make_cache(type, tokens, dim);
    c.span.parts = (const void *const *)c.parts;
    const size_t stride = (tokens + 15) / 16 * 16;
    float *q = allocate(rows * dim * sizeof *q), *scores = allocate(rows * stride * sizeof *scores);
    double *expected = allocate(rows * tokens * sizeof *expected);
    for (size_t i = 0; i < rows * dim; i++) q[i] = query(type, i % dim);
    for (size_t i = 0; i < rows * tokens; i++)
        for (size_t at = 0; at < dim; at++)
            expected[i] += (double)q[i / tokens * dim + at] * (double)c.rows[i % tokens * dim + at];
    size_t count;
    const ck_attention_keys_variant *variants = ck_attention_keys_variants(&count);
    for (size_t i = 0; i < count; i++) {
        if (variants[i].type != type || variants[i].isa & ~ck_isa_detect()) continue;
        void *scratch = allocate(variants[i].scratch_bytes(rows, dim));
        const ck_attention_queries queries = {rows, q, dim};
        memset(scores, 0xFF, rows * stride * sizeof *scores);
        variants[i].run(&c.span, &queries, scores, stride, scratch);
        compare(variants[i].name, scores, expected, rows, tokens, stride);
        free(scratch);
    }
    free(q);
    free(scores);
    free(expected);
    free_cache(&c);
}

static void check_values(ck_kv_type type, size_t rows, size_t tokens, size_t dim) {
    cache c = make_cache(type, tokens, dim);
    c.span.parts = (const void *const *)c.parts;
    const size_t stride = (tokens + CK_KV_TOKENS - 1) / CK_KV_TOKENS * CK_KV_TOKENS;
    float *p = allocate(rows * stride * sizeof *p), *y = allocate(rows * dim * sizeof *y);
    double *expected = allocate(rows * dim * sizeof *expected);
    for (size_t row = 0; row < rows; row++)
        for (size_t t = 0; t < tokens; t++) p[row * stride + t] = probability(type, t);
    for (size_t i = 0; i < rows * dim; i++)
        for (size_t t = 0; t < tokens; t++) expected[i] += (double)p[i / dim * stride + t] * (double)c.rows[t * dim + i % dim];
    size_t count;
    const ck_attention_values_variant *variants = ck_attention_values_variants(&count);
    for (size_t i = 0; i < count; i++) {
        if (variants[i].type != type || variants[i].isa & ~ck_isa_detect()) continue;
        void *scratch = allocate(variants[i].scratch_bytes(rows, dim));
        memset(y, 0xFF, rows * dim * sizeof *y);
        variants[i].run(&c.span, rows, p, stride, y, dim, scratch);
        compare(variants[i].name, y, expected, rows, dim, dim);
        free(scratch);
    }
    free(p);
    free(y);
    free(expected);
    free_cache(&c);
}

// Row r sees tokens 0 ... r: powers of two of small integers.
static void check_softmax(size_t rows, size_t tokens) {
    const size_t stride = (tokens + CK_KV_TOKENS - 1) / CK_KV_TOKENS * CK_KV_TOKENS;
    float *before = allocate(rows * stride * sizeof *before), *scores = allocate(rows * stride * sizeof *scores);
    float *max = allocate(rows * sizeof *max), *sum = allocate(rows * sizeof *sum);
    uint32_t *visible = allocate(rows * sizeof *visible);
    double *p = allocate(rows * stride * sizeof *p), *largest = allocate(rows * sizeof *p), *total = allocate(rows * sizeof *p);
    for (size_t i = 0; i < rows * stride; i++) before[i] = (float)random_integer(0, 8);
    for (size_t row = 0; row < rows; row++) {
        const size_t seen = row + 1 < tokens ? row + 1 : tokens;
        const float *at = before + row * stride;
        visible[row] = (uint32_t)row + 1;
        for (size_t t = 0; t < seen; t++)
            if ((double)at[t] > largest[row]) largest[row] = (double)at[t];
        for (size_t t = 0; t < seen; t++)
            total[row] += p[row * stride + t] = 1.0 / (double)(1 << (int)(largest[row] - (double)at[t]));
    }
    size_t count;
    const ck_attention_softmax_variant *variants = ck_attention_softmax_variants(&count);
    for (size_t i = 0; i < count; i++) {
        if (variants[i].isa & ~ck_isa_detect()) continue;
        memcpy(scores, before, rows * stride * sizeof *scores);
        const ck_attention_softmax_call call = {.rows = rows,
                                                .tokens = tokens,
                                                .scale = 1,
                                                .visible = visible,
                                                .scores = scores,
                                                .stride = stride,
                                                .max = max,
                                                .sum = sum};
        variants[i].run(&call);
        compare(variants[i].name, scores, p, rows, stride, stride);
        compare(variants[i].name, max, largest, rows, 1, 1);
        compare(variants[i].name, sum, total, rows, 1, 1);
    }
    void *all[] = {before, scores, max, sum, visible, p, largest, total};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) free(all[i]);
}

size_t check_attention(void) {
    static const size_t rows[] = {1, 4, 19}, tokens[] = {1, 63, 130}, dims[] = {1, 33, 128};
    for (size_t i = 0; i < 27; i++) {
        const size_t m = rows[i % 3], t = tokens[i / 3 % 3], dim = dims[i / 9];
        check_keys(CK_KV_BF16, m, t, dim);
        check_keys(CK_KV_INT8, m, t, dim);
        check_values(CK_KV_BF16, m, t, dim);
        check_values(CK_KV_INT8, m, t, dim);
        check_keys(CK_KV_RAZER_KEYS, m, t, dim);
        check_values(CK_KV_RAZER_VALUES, m, t, dim);
        check_keys(CK_KV_SPARSE50, m, t, dim);
        check_values(CK_KV_SPARSE50, m, t, dim);
        check_keys(CK_KV_SPARSE70, m, t, dim);
        check_values(CK_KV_SPARSE70, m, t, dim);
        check_softmax(m, t);
    }
    return compared;
}
