// What every linear kernel must compute, from the matrices before they were packed.
#include <math.h>
#include "ck_checks.h"

#define DOT(x, w, m, n, k, sum, magnitude)                                                                                       \
    for (size_t row = 0; row < m; row++)                                                                                         \
        for (size_t column = 0; column < n; column++) {                                                                          \
            double total = 0, absolute = 0;                                                                                      \
            for (size_t i = 0; i < k; i++) {                                                                                     \
                const double product = (double)x[row * k + i] * (double)w[column * k + i];                                       \
                total += product;                                                                                                \
                absolute += fabs(product);                                                                                       \
            }                                                                                                                    \
            sum[row * n + column] = total;                                                                                       \
            magnitude[row * n + column] = absolute;                                                                              \
        }

void ck_check_dot(const float *x, const float *w, size_t m, size_t n, size_t k, double *sum, double *magnitude) {
    DOT(x, w, m, n, k, sum, magnitude)
}

void ck_check_dot_f64(const double *x, const float *w, size_t m, size_t n, size_t k, double *sum, double *magnitude) {
    DOT(x, w, m, n, k, sum, magnitude)
}

void ck_check_dot_int8(const int8_t *x, const int8_t *w, size_t m, size_t n, size_t k, int64_t *sum) {
    for (size_t row = 0; row < m; row++)
        for (size_t column = 0; column < n; column++) {
            int64_t total = 0;
            for (size_t i = 0; i < k; i++) total += x[row * k + i] * w[column * k + i];
            sum[row * n + column] = total;
        }
}
