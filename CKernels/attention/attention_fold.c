// Chunks of tokens come together: the log-sum-exp merge.
#include <math.h>
#include "ck_attention.h"

void ck_attention_fold(size_t dim, float scale, float *max, float *sum, float *y, float chunk_max, float chunk_sum,
                       const float *chunk_y) {
    if (chunk_sum == 0) return;
    if (*sum == 0) {
        *max = chunk_max;
        *sum = chunk_sum;
        for (size_t c = 0; c < dim; c++) y[c] = chunk_y[c];
        return;
    }
    const float larger = *max > chunk_max ? *max : chunk_max;
    const float old = exp2f(scale * (*max - larger)), new = exp2f(scale * (chunk_max - larger));
    *max = larger;
    *sum = *sum * old + chunk_sum * new;
    for (size_t c = 0; c < dim; c++) y[c] = y[c] * old + chunk_y[c] * new;
}

void ck_attention_finish(size_t dim, float sum, float *y) {
    const float factor = sum == 0 ? 0 : 1 / sum;
    for (size_t c = 0; c < dim; c++) y[c] = sum == 0 ? 0 : y[c] * factor;
}
