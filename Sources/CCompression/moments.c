// Second moments: sums of x x^T over tokens.
//
//     panels    inputs in eights: token after token, 8 doubles each; the last one is filled up with zeros
//     a block   4 rows x 8 columns of the sum, kept in registers while all tokens pass
//
// The product of two floats is exact in double, so a contracted multiply-add changes no bit, nor does the width of a vector.
#include <cc_quantize.h>

enum { PANEL = CC_MOMENT_PANEL, ROWS = 4, LANES = 16 };

#if defined(__x86_64__) && defined(__GLIBC__)
#define CLONES __attribute__((target_clones("avx512f", "avx2", "default")))
#else
#define CLONES
#endif

static inline __attribute__((always_inline)) void add_block(const double *a, const double *b, size_t tokens, size_t rows,
                                                            size_t columns, size_t stride, double *sums) {
    double block[ROWS][PANEL] = {{0}};
    for (size_t r = 0; r < rows; r++)
        for (size_t c = 0; c < columns; c++) block[r][c] = sums[r * stride + c];
    for (size_t t = 0; t < tokens; t++)
        for (size_t r = 0; r < ROWS; r++)
            for (size_t c = 0; c < PANEL; c++) block[r][c] += a[t * PANEL + r] * b[t * PANEL + c];
    for (size_t r = 0; r < rows; r++)
        for (size_t c = 0; c < columns; c++) sums[r * stride + c] = block[r][c];
}

static size_t least(size_t a, size_t b) { return a < b ? a : b; }

CLONES void cc_add_moments(const double *panels, size_t tokens, size_t inputs, size_t panel, double *sums) {
    for (size_t row = panel * PANEL; row < least(inputs, (panel + 1) * PANEL); row += ROWS) {
        const double *a = panels + panel * tokens * PANEL + row % PANEL;
        for (size_t other = 0; other <= panel; other++) {
            const size_t column = other * PANEL;
            add_block(a, panels + other * tokens * PANEL, tokens, least(ROWS, inputs - row), least(PANEL, inputs - column),
                      inputs, sums + row * inputs + column);
        }
    }
}

// The lower triangle alone is read: what lies above counts twice.
CLONES double cc_weighted_squares(const double *moments, const double *rows, size_t inputs) {
    double total = 0;
    for (size_t i = 0; i < inputs; i++) {
        const double *h = moments + i * inputs;
        double lanes[CC_WEIGHTED_ROWS][LANES] = {{0}};
        size_t j = 0;
        for (; j + LANES <= i; j += LANES)
            for (size_t r = 0; r < CC_WEIGHTED_ROWS; r++)
                for (size_t v = 0; v < LANES; v++) lanes[r][v] += h[j + v] * rows[r * inputs + j + v];
        for (size_t r = 0; r < CC_WEIGHTED_ROWS; r++) {
            const double *row = rows + r * inputs;
            double sum = 0;
            for (size_t v = 0; v < LANES; v++) sum += lanes[r][v];
            for (size_t k = j; k < i; k++) sum += h[k] * row[k];
            total += row[i] * (2 * sum + h[i] * row[i]);
        }
    }
    return total;
}
