// Scores of sparse keys, the definition: sums in double, in order of channels, those that are left out counting as 0.
#include "attention/sparse_rows.h"

// A key.
size_t ck_attention_keys_sparse_scalar_scratch(size_t rows, size_t dim) {
    (void)rows;
    return (dim * sizeof(float) + 63) / 64 * 64;
}

static void run(ck_kv_type type, const ck_kv_span *keys, const ck_attention_queries *queries, float *scores, size_t stride,
                float *k) {
    for (size_t t = 0; t < keys->tokens; t++) {
        ck_sparse_read(type, keys->dim, keys->parts[t / CK_KV_TOKENS], t % CK_KV_TOKENS, k);
        for (size_t row = 0; row < queries->rows; row++) {
            const float *q = queries->q + row * queries->stride;
            double sum = 0;
            for (size_t c = 0; c < keys->dim; c++) sum += (double)q[c] * (double)k[c];
            scores[row * stride + t] = (float)sum;
        }
    }
}

void ck_attention_keys_sparse50_scalar(const ck_kv_span *keys, const ck_attention_queries *queries, float *scores, size_t stride,
                                       void *scratch) {
    run(CK_KV_SPARSE50, keys, queries, scores, stride, scratch);
}

void ck_attention_keys_sparse70_scalar(const ck_kv_span *keys, const ck_attention_queries *queries, float *scores, size_t stride,
                                       void *scratch) {
    run(CK_KV_SPARSE70, keys, queries, scores, stride, scratch);
}
