// Sums of int8 values, the definition: in double, in order of tokens.
#include "attention/kv_rows.h"

void ck_attention_values_int8_scalar(const ck_kv_span *values, size_t rows, const float *p, size_t p_stride, float *y,
                                     size_t y_stride, void *scratch) {
    (void)scratch;
    for (size_t row = 0; row < rows; row++) {
        for (size_t c = 0; c < values->dim; c++) {
            double sum = 0;
            for (size_t t = 0; t < values->tokens; t++) {
                const void *part = values->parts[t / CK_KV_TOKENS];
                const int8_t *v = ck_kv_row(CK_KV_INT8, values->dim, part, t % CK_KV_TOKENS);
                const double scale = (double)ck_kv_scales(values->dim, part)[t % CK_KV_TOKENS];
                sum += (double)p[row * p_stride + t] * scale * v[c];
            }
            y[row * y_stride + c] = (float)sum;
        }
    }
}
