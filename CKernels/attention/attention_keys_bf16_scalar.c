// Scores of bf16 keys, the definition: sums in double, in order of channels.
#include "attention/kv_rows.h"
#include "support/bf16.h"

void ck_attention_keys_bf16_scalar(const ck_kv_span *keys, const ck_attention_queries *queries, float *scores, size_t stride,
                                   void *scratch) {
    (void)scratch;
    for (size_t t = 0; t < keys->tokens; t++) {
        const uint16_t *k = ck_kv_row(CK_KV_BF16, keys->dim, keys->parts[t / CK_KV_TOKENS], t % CK_KV_TOKENS);
        for (size_t row = 0; row < queries->rows; row++) {
            const float *q = queries->q + row * queries->stride;
            double sum = 0;
            for (size_t c = 0; c < keys->dim; c++) sum += (double)q[c] * (double)ck_bf16_to_f32(k[c]);
            scores[row * stride + t] = (float)sum;
        }
    }
}
