// softmax of a chunk, the definition: the power of two from the C library, sums in double, in order of tokens.
#include <math.h>
#include "attention/softmax_visible.h"

static float largest(const ck_attention_softmax_call *call, size_t row, const float *scores, size_t visible) {
    float max = -INFINITY;
    for (size_t t = 0; t < visible; t++)
        if (ck_softmax_tree(call, row, t) & 1 && scores[t] > max) max = scores[t];
    return max;
}

void ck_attention_softmax_scalar(const ck_attention_softmax_call *call) {
    const size_t padded = (call->tokens + CK_KV_TOKENS - 1) / CK_KV_TOKENS * CK_KV_TOKENS;
    for (size_t row = 0; row < call->rows; row++) {
        float *scores = call->scores + row * call->stride;
        const size_t visible = ck_softmax_visible(call, row);
        const float max = largest(call, row, scores, visible);
        double sum = 0;
        for (size_t t = 0; t < padded; t++) {
            const int seen = t < visible && ck_softmax_tree(call, row, t) & 1;
            scores[t] = seen ? exp2f(call->scale * (scores[t] - max)) : 0;
            sum += (double)scores[t];
        }
        call->max[row] = max;
        call->sum[row] = (float)sum;
    }
}
