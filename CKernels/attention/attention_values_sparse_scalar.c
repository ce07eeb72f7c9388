// Sums of sparse values, the definition: in double, in order of tokens, channels that are left out counting as 0.
#include <string.h>
#include "attention/sparse_rows.h"

static size_t value_bytes(size_t dim) { return (dim * sizeof(float) + 63) / 64 * 64; }

// A value, and the sums.
size_t ck_attention_values_sparse_scalar_scratch(size_t rows, size_t dim) {
    return value_bytes(dim) + (rows * dim * sizeof(double) + 63) / 64 * 64;
}

static void run(ck_kv_type type, const ck_kv_span *values, size_t rows, const float *p, size_t p_stride, float *y,
                size_t y_stride, void *scratch) {
    const size_t dim = values->dim;
    float *v = scratch;
    double *sums = (double *)(void *)((char *)scratch + value_bytes(dim));
    memset(sums, 0, rows * dim * sizeof *sums);
    for (size_t t = 0; t < values->tokens; t++) {
        ck_sparse_read(type, dim, values->parts[t / CK_KV_TOKENS], t % CK_KV_TOKENS, v);
        for (size_t row = 0; row < rows; row++)
            for (size_t c = 0; c < dim; c++) sums[row * dim + c] += (double)p[row * p_stride + t] * (double)v[c];
    }
    for (size_t row = 0; row < rows; row++)
        for (size_t c = 0; c < dim; c++) y[row * y_stride + c] = (float)sums[row * dim + c];
}

void ck_attention_values_sparse50_scalar(const ck_kv_span *values, size_t rows, const float *p, size_t p_stride, float *y,
                                         size_t y_stride, void *scratch) {
    run(CK_KV_SPARSE50, values, rows, p, p_stride, y, y_stride, scratch);
}

void ck_attention_values_sparse70_scalar(const ck_kv_span *values, size_t rows, const float *p, size_t p_stride, float *y,
                                         size_t y_stride, void *scratch) {
    run(CK_KV_SPARSE70, values, rows, p, p_stride, y, y_stride, scratch);
}
