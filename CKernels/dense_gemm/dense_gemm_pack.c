// Packs bf16 rows into panels, and back. The layout is drawn in ck_dense_gemm.h.
#include <string.h>
#include "ck_dense_gemm.h"
#include "support/pack_tile.h"

size_t ck_dense_packed_bytes(size_t n, size_t k) {
    if (n == 0 || k == 0 || n > SIZE_MAX - CK_PANEL_ROWS || k > SIZE_MAX - 32) return 0;
    size_t elements, bytes;
    if (__builtin_mul_overflow(ck_panels(n) * CK_PANEL_ROWS, ck_k_padded(k, CK_BF16), &elements)) return 0;
    if (__builtin_mul_overflow(elements, sizeof(uint16_t), &bytes)) return 0;
    return bytes;
}

static size_t panel_elements(size_t k) { return CK_PANEL_ROWS * ck_k_padded(k, CK_BF16); }

void ck_dense_pack(const uint16_t *w, size_t w_stride, size_t n, size_t k, size_t panel_begin, size_t panel_end,
                   uint16_t *values) {
    const size_t row_bytes = k * sizeof *w;
    for (size_t panel = panel_begin; panel < panel_end; panel++) {
        const char *source = (const char *)(w + panel * CK_PANEL_ROWS * w_stride);
        char *target = (char *)(values + panel * panel_elements(k));
        for (size_t at = 0; at < row_bytes; at += CK_TILE_BYTES, target += CK_PANEL_ROWS * CK_TILE_BYTES) {
            const size_t left = row_bytes - at;
            uint32_t tile[CK_PANEL_ROWS][CK_TILE_WORDS], turned[CK_TILE_WORDS][CK_PANEL_ROWS];
            ck_tile_load(source + at, w_stride * sizeof *w, ck_panel_rows(panel, n), left < CK_TILE_BYTES ? left : CK_TILE_BYTES,
                         tile);
            ck_tile_transpose(tile, turned);
            memcpy(target, turned, sizeof turned);
        }
    }
}

void ck_dense_unpack(const uint16_t *values, size_t n, size_t k, size_t panel_begin, size_t panel_end, uint16_t *w,
                     size_t w_stride) {
    for (size_t panel = panel_begin; panel < panel_end; panel++) {
        const uint16_t *source = values + panel * panel_elements(k);
        uint16_t *target = w + panel * CK_PANEL_ROWS * w_stride;
        const size_t rows = ck_panel_rows(panel, n);
        for (size_t i = 0; i < k; i += 2)
            for (size_t row = 0; row < rows; row++)
                memcpy(target + row * w_stride + i, source + (i / 2 * CK_PANEL_ROWS + row) * 2,
                       (k - i < 2 ? 1 : 2) * sizeof *target);
    }
}
