// Packs rows into bitmap and values, and back; checks packed weights. The layout is drawn in ck_bitmap_gemm.h.
#include <string.h>
#include "ck_bitmap_gemm.h"

// Elements of one row in a 4-byte group of k, and bytes of a group's mask over 16 rows.
static size_t group_k(ck_type type) { return type == CK_INT8 ? 4 : 2; }
static size_t mask_bytes(ck_type type) { return type == CK_INT8 ? 8 : 4; }
static size_t groups(size_t k, ck_type type) { return ck_k_padded(k, type) / group_k(type); }
static size_t panel_bitmap_bytes(size_t k, ck_type type) { return groups(k, type) * mask_bytes(type); }

size_t ck_bitmap_bytes(size_t n, size_t k, ck_type type) {
    if (n == 0 || k == 0 || n > SIZE_MAX - CK_PANEL_ROWS || k > SIZE_MAX - 64) return 0;
    size_t bytes;
    if (__builtin_mul_overflow(ck_panels(n), panel_bitmap_bytes(k, type), &bytes)) return 0;
    return bytes;
}

// The values, then zeros up to a multiple of 64 bytes, then 64 more, so that a whole vector may be loaded at any value.
size_t ck_bitmap_values_bytes(uint64_t count, ck_type type) {
    uint64_t bytes;
    if (__builtin_mul_overflow(count, type == CK_INT8 ? 1u : 2u, &bytes) || bytes > SIZE_MAX - 128) return 0;
    return (bytes + 63) / 64 * 64 + 64;
}

static size_t rows_of(size_t panel, size_t n) {
    const size_t left = n - panel * CK_PANEL_ROWS;
    return left < CK_PANEL_ROWS ? left : CK_PANEL_ROWS;
}

static uint64_t load_mask(const uint8_t *bitmap, ck_type type) {
    uint64_t mask = 0;
    memcpy(&mask, bitmap, mask_bytes(type));
    return mask;
}

// The group's elements of one panel in bit order; rows beyond n and elements beyond k are 0.
static void gather(const void *w, size_t w_stride, ck_type type, size_t panel, size_t rows, size_t k, size_t group, uint16_t out[64]) {
    const size_t width = group_k(type), first = group * width;
    for (size_t row = 0; row < CK_PANEL_ROWS; row++)
        for (size_t j = 0; j < width; j++) {
            const size_t at = (panel * CK_PANEL_ROWS + row) * w_stride + first + j;
            const int inside = row < rows && first + j < k;
            out[row * width + j] = !inside ? 0 : type == CK_INT8 ? ((const uint8_t *)w)[at] : ((const uint16_t *)w)[at];
        }
}

void ck_bitmap_count(const void *w, size_t w_stride, ck_type type, size_t n, size_t k, size_t panel_begin, size_t panel_end,
                     uint64_t *counts) {
    for (size_t panel = panel_begin; panel < panel_end; panel++) {
        uint64_t count = 0;
        for (size_t row = 0; row < rows_of(panel, n); row++) {
            const size_t at = (panel * CK_PANEL_ROWS + row) * w_stride;
            if (type == CK_INT8)
                for (size_t i = 0; i < k; i++) count += ((const uint8_t *)w)[at + i] != 0;
            else
                for (size_t i = 0; i < k; i++) count += ((const uint16_t *)w)[at + i] != 0;
        }
        counts[panel - panel_begin] = count;
    }
}

void ck_bitmap_pack(const void *w, size_t w_stride, ck_type type, size_t n, size_t k, size_t panel_begin, size_t panel_end,
                    const uint64_t *offsets, void *bitmap, void *values, int32_t *row_sum) {
    const size_t elements = CK_PANEL_ROWS * group_k(type);
    for (size_t panel = panel_begin; panel < panel_end; panel++) {
        const size_t rows = rows_of(panel, n);
        uint8_t *mask_at = (uint8_t *)bitmap + panel * panel_bitmap_bytes(k, type);
        uint64_t value_at = offsets[panel];
        int32_t sums[CK_PANEL_ROWS] = {0};
        for (size_t group = 0; group < groups(k, type); group++, mask_at += mask_bytes(type)) {
            uint16_t element[64];
            uint64_t mask = 0;
            gather(w, w_stride, type, panel, rows, k, group, element);
            for (size_t bit = 0; bit < elements; bit++) {
                if (element[bit] == 0) continue;
                mask |= 1ull << bit;
                if (type == CK_INT8) {
                    ((uint8_t *)values)[value_at++] = (uint8_t)element[bit];
                    sums[bit / group_k(type)] += (int8_t)element[bit];
                } else {
                    ((uint16_t *)values)[value_at++] = element[bit];
                }
            }
            memcpy(mask_at, &mask, mask_bytes(type));
        }
        if (row_sum) memcpy(row_sum + panel * CK_PANEL_ROWS, sums, rows * sizeof *sums);
    }
}

void ck_bitmap_unpack(const ck_bitmap_weights *w, size_t n, size_t k, size_t panel_begin, size_t panel_end, void *target,
                      size_t target_stride) {
    const size_t width = group_k(w->type);
    for (size_t panel = panel_begin; panel < panel_end; panel++) {
        const uint8_t *mask_at = (const uint8_t *)w->bitmap + panel * panel_bitmap_bytes(k, w->type);
        uint64_t value_at = w->offsets[panel];
        for (size_t group = 0; group < groups(k, w->type); group++, mask_at += mask_bytes(w->type)) {
            const uint64_t mask = load_mask(mask_at, w->type);
            for (size_t bit = 0; bit < CK_PANEL_ROWS * width; bit++) {
                const size_t row = panel * CK_PANEL_ROWS + bit / width, column = group * width + bit % width;
                const int stored = mask >> bit & 1;
                if (row < n && column < k) {
                    const size_t at = row * target_stride + column;
                    if (w->type == CK_INT8) ((uint8_t *)target)[at] = stored ? ((const uint8_t *)w->values)[value_at] : 0;
                    else ((uint16_t *)target)[at] = stored ? ((const uint16_t *)w->values)[value_at] : 0;
                }
                value_at += (uint64_t)stored;
            }
        }
    }
}

// The mask of bits that may be set in a group: rows below `rows`, elements of k below `left`.
static uint64_t legal_mask(ck_type type, size_t rows, size_t left) {
    const size_t width = group_k(type), bits = rows * width;
    uint64_t mask = bits == 64 ? ~0ull : (1ull << bits) - 1;
    if (left >= width) return mask;
    uint64_t columns = 0;
    for (size_t row = 0; row < rows; row++) columns |= ((1ull << left) - 1) << row * width;
    return mask & columns;
}

static int row_sums_agree(const ck_bitmap_weights *w, size_t panel, size_t rows, size_t k) {
    const uint8_t *mask_at = (const uint8_t *)w->bitmap + panel * panel_bitmap_bytes(k, CK_INT8);
    const int8_t *value = (const int8_t *)w->values + w->offsets[panel];
    int32_t sums[CK_PANEL_ROWS] = {0};
    for (size_t group = 0; group < groups(k, CK_INT8); group++, mask_at += 8)
        for (uint64_t mask = load_mask(mask_at, CK_INT8); mask; mask &= mask - 1) sums[__builtin_ctzll(mask) / 4] += *value++;
    return memcmp(sums, w->row_sum + panel * CK_PANEL_ROWS, rows * sizeof *sums) == 0;
}

ck_status ck_bitmap_validate(const ck_bitmap_weights *w, size_t n, size_t k, uint64_t count, size_t *bad_panel) {
    const size_t panels = ck_panels(n), width = group_k(w->type);
    *bad_panel = 0;
    if (w->offsets[0] != 0) return CK_ERR_CORRUPT;
    for (size_t panel = 0; panel < panels; panel++) {
        *bad_panel = panel;
        const size_t rows = rows_of(panel, n);
        const uint8_t *mask_at = (const uint8_t *)w->bitmap + panel * panel_bitmap_bytes(k, w->type);
        uint64_t set = 0;
        for (size_t group = 0; group < groups(k, w->type); group++, mask_at += mask_bytes(w->type)) {
            const uint64_t mask = load_mask(mask_at, w->type);
            const size_t first = group * width, left = first < k ? k - first : 0;
            if (mask & ~legal_mask(w->type, rows, left)) return CK_ERR_CORRUPT;
            set += (uint64_t)__builtin_popcountll(mask);
        }
        // set is at most 16 * k_padded, so a difference equal to it leaves no room for an offset that wrapped around.
        if (w->offsets[panel + 1] < w->offsets[panel] || w->offsets[panel + 1] - w->offsets[panel] != set) return CK_ERR_CORRUPT;
        if (w->offsets[panel + 1] > count) return CK_ERR_CORRUPT;
        if (w->type == CK_INT8 && w->row_sum && !row_sums_agree(w, panel, rows, k)) return CK_ERR_CORRUPT;
    }
    return w->offsets[panels] == count ? CK_OK : CK_ERR_CORRUPT;
}
