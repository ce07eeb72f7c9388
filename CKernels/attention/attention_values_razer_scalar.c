// Sums of RaZeR values, the definition: in double, in order of tokens.
#include "attention/razer_rows.h"

// A value, and the sums.
size_t ck_attention_values_razer_scalar_scratch(size_t rows, size_t dim) {
    return (dim * sizeof(float) + 63) / 64 * 64 + (rows * dim * sizeof(double) + 63) / 64 * 64;
}

void ck_attention_values_razer_scalar(const ck_kv_span *values, size_t rows, const float *p, size_t p_stride, float *y,
                                      size_t y_stride, void *scratch) {
    const size_t dim = values->dim;
    float *v = scratch;
    double *sums = (double *)((char *)scratch + (dim * sizeof(float) + 63) / 64 * 64);
    memset(sums, 0, rows * dim * sizeof *sums);
    for (size_t t = 0; t < values->tokens; t++) {
        ck_razer_read(CK_KV_RAZER_VALUES, dim, values->parts[t / CK_KV_TOKENS], t % CK_KV_TOKENS, v);
        for (size_t row = 0; row < rows; row++)
            for (size_t c = 0; c < dim; c++) sums[row * dim + c] += (double)p[row * p_stride + t] * (double)v[c];
    }
    for (size_t row = 0; row < rows; row++)
        for (size_t c = 0; c < dim; c++) y[row * y_stride + c] = (float)sums[row * dim + c];
}
