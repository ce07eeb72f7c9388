// Packs random weights, keeps cold copies of them, and checks results against the scalar kernels.
#include "data.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

void ck_bitmap_gemm_bf16_scalar(const ck_gemm_call *, const ck_bitmap_weights *, size_t, size_t, void *);
void ck_dense_gemm_scalar(const ck_gemm_call *, const ck_dense_weights *, size_t, size_t, void *);

_Alignas(64) char stage_fixed_tile[1024];
size_t stage_line_values;

void stage_die(const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    fputs("stages: ", stderr);
    vfprintf(stderr, format, arguments);
    fputc('\n', stderr);
    exit(1);
}

// Zeroed memory on huge pages where the system grants them.
static void *allocate(size_t bytes) {
    const size_t huge = 2 << 20, rounded = (bytes + huge - 1) / huge * huge;
    void *memory = aligned_alloc(huge, rounded);
    if (!memory) stage_die("no memory for %zu bytes", bytes);
    madvise(memory, rounded, MADV_HUGEPAGE);
    return memory;
}

static uint64_t next_random(uint64_t *state) {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    return *state ^= *state << 17;
}

// Sign and fraction at random, between 2^-4 and 2^1: sums neither overflow nor lose the small ones.
static uint16_t random_bf16(uint64_t *state) {
    const uint64_t bits = next_random(state);
    return (uint16_t)((bits & 0x8000) | (123 + (bits >> 16) % 5) << 7 | (bits >> 32 & 0x7F));
}

size_t stage_share(size_t panels, size_t group, size_t shares, size_t share) {
    const size_t chunks = (panels + group - 1) / group, first = chunks * share / shares * group;
    return first < panels ? first : panels;
}

typedef struct {
    stage_data *data;
    bool dense;
    uint16_t *matrix;
    uint64_t *counts;
} packing;

static void share_of(const stage_data *data, size_t part, size_t *begin, size_t *end) {
    *begin = stage_share(ck_panels(data->n), 4, data->threads, part);
    *end = stage_share(ck_panels(data->n), 4, data->threads, part + 1);
}

static void fill_share(void *context, size_t part, size_t worker) {
    (void)worker;
    packing *job = context;
    const stage_data *data = job->data;
    size_t begin, end;
    share_of(data, part, &begin, &end);
    for (size_t row = begin * CK_PANEL_ROWS; row < end * CK_PANEL_ROWS && row < data->n; row++) {
        uint64_t state = 0x9E3779B97F4A7C15u * (row + 1);
        for (int skip = 0; skip < 8; skip++) next_random(&state);
        for (size_t i = 0; i < data->k; i++) {
            const bool kept = (double)(next_random(&state) >> 11) * 0x1p-53 < data->density;
            job->matrix[row * data->k + i] = kept ? random_bf16(&state) : 0;
        }
    }
    if (!job->dense) ck_bitmap_count(job->matrix, data->k, CK_BF16, data->n, data->k, begin, end, job->counts + begin);
}

static void pack_share(void *context, size_t part, size_t worker) {
    (void)worker;
    packing *job = context;
    stage_data *data = job->data;
    size_t begin, end;
    share_of(data, part, &begin, &end);
    const stage_weights *w = &data->weights[0];
    if (job->dense) ck_dense_pack(job->matrix, data->k, data->n, data->k, begin, end, (uint16_t *)w->dense.values);
    else
        ck_bitmap_pack(job->matrix, data->k, CK_BF16, data->n, data->k, begin, end, w->bitmap.offsets, (void *)w->bitmap.bitmap,
                       (void *)w->bitmap.values, NULL);
}

// The other copies, each share by the thread that reads it.
static void copy_share(void *context, size_t part, size_t worker) {
    (void)worker;
    packing *job = context;
    const stage_data *data = job->data;
    const stage_weights *from = &data->weights[0];
    const size_t steps = ck_k_padded(data->k, CK_BF16) / 32;
    size_t begin, end;
    share_of(data, part, &begin, &end);
    for (size_t copy = 1; copy < data->copies; copy++) {
        const stage_weights *to = &data->weights[copy];
        if (job->dense) {
            const size_t at = begin * steps * 512, count = (end - begin) * steps * 512;
            memcpy((uint16_t *)to->dense.values + at, from->dense.values + at, 2 * count);
            continue;
        }
        const uint64_t *offsets = from->bitmap.offsets;
        memcpy((char *)to->bitmap.bitmap + begin * steps * 64, (const char *)from->bitmap.bitmap + begin * steps * 64,
               (end - begin) * steps * 64);
        memcpy((uint16_t *)to->bitmap.values + offsets[begin], (const uint16_t *)from->bitmap.values + offsets[begin],
               2 * (offsets[end] - offsets[begin]));
    }
}

static void make_bitmap(packing *job) {
    stage_data *data = job->data;
    const size_t panels = ck_panels(data->n), bitmap_bytes = ck_bitmap_bytes(data->n, data->k, CK_BF16);
    uint64_t *offsets = allocate((panels + 1) * sizeof *offsets);
    offsets[0] = 0;
    for (size_t panel = 0; panel < panels; panel++) offsets[panel + 1] = offsets[panel] + job->counts[panel];
    data->bytes = bitmap_bytes + 2 * offsets[panels] + (panels + 1) * sizeof *offsets;
    stage_line_values = (size_t)(offsets[panels] / (panels * ck_k_padded(data->k, CK_BF16) / 2));
    const size_t values_bytes = ck_bitmap_values_bytes(offsets[panels], CK_BF16);
    for (size_t copy = 0; copy < data->copies; copy++) {
        char *values = allocate(values_bytes);
        memset(values + 2 * offsets[panels], 0, values_bytes - 2 * offsets[panels]);
        data->weights[copy].bitmap =
            (ck_bitmap_weights){.type = CK_BF16, .bitmap = allocate(bitmap_bytes), .values = values, .offsets = offsets};
    }
}

static void make_x(stage_data *data) {
    const size_t blocks = (data->most_rows + 15) / 16, tiles_bytes = blocks * 16 * ck_k_padded(data->k, CK_BF16) * 2;
    data->x_stride = (ck_k_padded(data->k, CK_BF16) / 32 | 1) * 64;
    data->y_stride = data->n;
    data->x_source = allocate(data->most_rows * data->x_stride);
    data->x = allocate(data->most_rows * data->x_stride);
    data->x_tiles = allocate(tiles_bytes);
    memset(data->x_tiles, 0, tiles_bytes);
    memset(data->x_source, 0, data->most_rows * data->x_stride);
    uint64_t state = 88172645463325252u;
    for (size_t m = 0; m < data->most_rows; m++)
        for (size_t i = 0; i < data->k; i++) ((uint16_t *)(data->x_source + m * data->x_stride))[i] = random_bf16(&state);
    for (size_t i = 0; i < sizeof stage_fixed_tile / 2; i++) ((uint16_t *)stage_fixed_tile)[i] = random_bf16(&state);
    data->y = allocate(data->most_rows * data->n * sizeof(float));
    data->y_wanted = allocate(data->most_rows * data->n * sizeof(float));
}

void stage_data_make(stage_data *data, bool dense) {
    const size_t panels = ck_panels(data->n);
    packing job = {.data = data, .dense = dense};
    job.matrix = allocate(data->n * data->k * sizeof(uint16_t));
    job.counts = allocate(panels * sizeof(uint64_t));
    data->weights = calloc(data->copies, sizeof *data->weights);
    if (!data->weights) stage_die("no memory for %zu copies", data->copies);
    ck_pool_run(data->pool, data->threads, fill_share, &job);
    if (dense) {
        data->bytes = ck_dense_packed_bytes(data->n, data->k);
        for (size_t copy = 0; copy < data->copies; copy++) data->weights[copy].dense.values = allocate(data->bytes);
    } else make_bitmap(&job);
    ck_pool_run(data->pool, data->threads, pack_share, &job);
    ck_pool_run(data->pool, data->threads, copy_share, &job);
    free(job.matrix);
    free(job.counts);
    make_x(data);
    data->scratch = allocate(data->threads * STAGE_SCRATCH_BYTES);
}

typedef struct {
    stage_data *data;
    size_t rows;
} renewing;

static void renew_row(void *context, size_t part, size_t worker) {
    (void)worker;
    const renewing *job = context;
    const stage_data *data = job->data;
    const size_t steps = ck_k_padded(data->k, CK_BF16) / 32, blocks = (job->rows + 15) / 16;
    const char *from = data->x_source + part * data->x_stride;
    memcpy(data->x + part * data->x_stride, from, steps * 64);
    char *tiles = data->x_tiles + part / 16 * 1024 + part % 16 * 64;
    for (size_t step = 0; step < steps; step++) memcpy(tiles + step * blocks * 1024, from + step * 64, 64);
}

void stage_data_renew_x(stage_data *data, size_t rows) {
    renewing job = {data, rows};
    ck_pool_run(data->pool, rows, renew_row, &job);
}

ck_gemm_call stage_data_call(const stage_data *data, size_t rows, bool x_tiles) {
    return (ck_gemm_call){.m = rows,
                          .n = data->n,
                          .k = data->k,
                          .x = x_tiles ? data->x_tiles : data->x,
                          .x_stride = x_tiles ? 64 : data->x_stride,
                          .y = data->y,
                          .y_stride = data->y_stride,
                          .y_type = CK_F32};
}

// One panel as weights of its own, the values' signs kept or cleared. The caller frees dense.values or bitmap.values.
static stage_weights panel_weights(const stage_data *data, size_t panel, bool dense, uint64_t offsets[2], bool absolute) {
    const size_t steps = ck_k_padded(data->k, CK_BF16) / 32;
    const stage_weights *w = &data->weights[0];
    const uint16_t *from =
        dense ? w->dense.values + panel * steps * 512 : (const uint16_t *)w->bitmap.values + w->bitmap.offsets[panel];
    offsets[0] = 0;
    offsets[1] = dense ? steps * 512 : w->bitmap.offsets[panel + 1] - w->bitmap.offsets[panel];
    uint16_t *values = allocate(2 * offsets[1] + 128);
    for (size_t i = 0; i < offsets[1]; i++) values[i] = absolute ? from[i] & 0x7FFF : from[i];
    if (dense) return (stage_weights){.dense = {values}};
    const char *bitmap = (const char *)w->bitmap.bitmap + panel * steps * 64;
    return (stage_weights){.bitmap = {.type = CK_BF16, .bitmap = bitmap, .values = values, .offsets = offsets}};
}

// 16 outputs for each of `rows` rows: of x and the panel, or of what is left when all signs are cleared.
static void scalar_panel(const stage_data *data, size_t rows, size_t panel, bool dense, bool absolute, float *y) {
    uint64_t offsets[2];
    const stage_weights w = panel_weights(data, panel, dense, offsets, absolute);
    uint16_t *x = allocate(rows * data->x_stride);
    memcpy(x, data->x_source, rows * data->x_stride);
    for (size_t i = 0; absolute && i < rows * data->x_stride / 2; i++) x[i] &= 0x7FFF;
    const size_t left = data->n - panel * CK_PANEL_ROWS;
    ck_gemm_call call = stage_data_call(data, rows, false);
    call.n = left < CK_PANEL_ROWS ? left : CK_PANEL_ROWS;
    call.x = x, call.y = y, call.y_stride = CK_PANEL_ROWS;
    if (dense) ck_dense_gemm_scalar(&call, &w.dense, 0, 1, NULL);
    else ck_bitmap_gemm_bf16_scalar(&call, &w.bitmap, 0, 1, NULL);
    free((void *)(dense ? (const void *)w.dense.values : w.bitmap.values));
    free(x);
}

// k additions and as many products, each rounded once at most.
bool stage_check(const stage_data *data, size_t rows, const char *name, bool dense) {
    const size_t panels = ck_panels(data->n), sample[] = {0, panels / 3, panels / 2, panels - 1};
    float *wanted = allocate(rows * CK_PANEL_ROWS * sizeof(float)), *slack = allocate(rows * CK_PANEL_ROWS * sizeof(float));
    double worst = 0;
    for (size_t s = 0; s < sizeof sample / sizeof *sample; s++) {
        scalar_panel(data, rows, sample[s], dense, false, wanted);
        scalar_panel(data, rows, sample[s], dense, true, slack);
        for (size_t m = 0; m < rows; m++)
            for (size_t i = 0; i < CK_PANEL_ROWS && sample[s] * CK_PANEL_ROWS + i < data->n; i++) {
                const double got = data->y[m * data->y_stride + sample[s] * CK_PANEL_ROWS + i];
                const double error = fabs(got - wanted[m * CK_PANEL_ROWS + i]) / slack[m * CK_PANEL_ROWS + i];
                if (!(error <= worst)) worst = isnan(error) ? INFINITY : error;
            }
    }
    free(wanted), free(slack);
    const double bound = (double)(data->k + 2) * 0x1p-24;
    if (worst <= bound) return true;
    printf("%s, M=%zu: differs from the scalar kernel by %.2e of sum |w||x|; at most %.2e is right\n", name, rows, worst, bound);
    return false;
}
