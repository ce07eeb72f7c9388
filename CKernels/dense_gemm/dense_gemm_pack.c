// Packs bf16 rows into panels, and back. The layout is drawn in ck_dense_gemm.h.
#include <string.h>
#include "ck_dense_gemm.h"

size_t ck_dense_packed_bytes(size_t n, size_t k) {
    if (n == 0 || k == 0 || n > SIZE_MAX - CK_PANEL_ROWS || k > SIZE_MAX - 32) return 0;
    size_t elements, bytes;
    if (__builtin_mul_overflow(ck_panels(n) * CK_PANEL_ROWS, ck_k_padded(k, CK_BF16), &elements)) return 0;
    if (__builtin_mul_overflow(elements, sizeof(uint16_t), &bytes)) return 0;
    return bytes;
}

static size_t panel_elements(size_t k) { return CK_PANEL_ROWS * ck_k_padded(k, CK_BF16); }

static size_t rows_of(size_t panel, size_t n) {
    const size_t left = n - panel * CK_PANEL_ROWS;
    return left < CK_PANEL_ROWS ? left : CK_PANEL_ROWS;
}

void ck_dense_pack(const uint16_t *w, size_t w_stride, size_t n, size_t k, size_t panel_begin, size_t panel_end,
                   uint16_t *values) {
    for (size_t panel = panel_begin; panel < panel_end; panel++) {
        uint16_t *target = values + panel * panel_elements(k);
        const uint16_t *source = w + panel * CK_PANEL_ROWS * w_stride;
        const size_t rows = rows_of(panel, n);
        if (rows < CK_PANEL_ROWS || k % 32 != 0) memset(target, 0, panel_elements(k) * sizeof *target);
        for (size_t i = 0; i < k; i += 2)
            for (size_t row = 0; row < rows; row++)
                memcpy(target + (i / 2 * CK_PANEL_ROWS + row) * 2, source + row * w_stride + i,
                       (k - i < 2 ? 1 : 2) * sizeof *target);
    }
}

void ck_dense_unpack(const uint16_t *values, size_t n, size_t k, size_t panel_begin, size_t panel_end, uint16_t *w,
                     size_t w_stride) {
    for (size_t panel = panel_begin; panel < panel_end; panel++) {
        const uint16_t *source = values + panel * panel_elements(k);
        uint16_t *target = w + panel * CK_PANEL_ROWS * w_stride;
        const size_t rows = rows_of(panel, n);
        for (size_t i = 0; i < k; i += 2)
            for (size_t row = 0; row < rows; row++)
                memcpy(target + row * w_stride + i, source + (i / 2 * CK_PANEL_ROWS + row) * 2,
                       (k - i < 2 ? 1 : 2) * sizeof *target);
    }
}
