// Scores of RaZeR keys, the definition: sums in double, in order of channels.
#include "attention/razer_rows.h"

void ck_attention_keys_razer_scalar(const ck_kv_span *keys, const ck_attention_queries *queries, float *scores, size_t stride,
                                    void *scratch) {
    float *k = scratch;
    for (size_t t = 0; t < keys->tokens; t++) {
        ck_razer_read(CK_KV_RAZER_KEYS, keys->dim, keys->parts[t / CK_KV_TOKENS], t % CK_KV_TOKENS, k);
        for (size_t row = 0; row < queries->rows; row++) {
            const float *q = queries->q + row * queries->stride;
            double sum = 0;
            for (size_t c = 0; c < keys->dim; c++) sum += (double)q[c] * (double)k[c];
            scores[row * stride + t] = (float)sum;
        }
    }
}

// A key.
size_t ck_attention_keys_razer_scalar_scratch(size_t rows, size_t dim) {
    (void)rows;
    return (dim * sizeof(float) + 63) / 64 * 64;
}
