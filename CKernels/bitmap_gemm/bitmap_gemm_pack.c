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

// The bytes of a row's elements in one group, 0 beyond k. A group is 4 bytes wide in either type.
static inline __attribute__((always_inline)) uint32_t load_group(const void *w, size_t at, ck_type type, size_t left) {
    uint32_t bytes = 0;
    const size_t width = type == CK_INT8 ? 1 : 2;
    memcpy(&bytes, (const char *)w + at * width, (left < group_k(type) ? left : group_k(type)) * width);
    return bytes;
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

// One group of a panel: its mask, and its stored elements in bit order. Returns their number. Writes every element and advances
// past those that are stored: half of the weights are zeros at random, which no branch predictor likes.
static inline __attribute__((always_inline)) size_t pack_group(const uint32_t group[CK_PANEL_ROWS], ck_type type, uint64_t *mask,
                                                               void *stored, int32_t *sums) {
    size_t count = 0;
    *mask = 0;
    for (size_t row = 0; row < CK_PANEL_ROWS; row++)
        for (size_t j = 0; j < group_k(type); j++) {
            const uint32_t element = type == CK_INT8 ? group[row] >> 8 * j & 0xFF : group[row] >> 16 * j & 0xFFFF;
            if (type == CK_INT8) {
                ((uint8_t *)stored)[count] = (uint8_t)element;
                sums[row] += (int8_t)element;
            } else {
                ((uint16_t *)stored)[count] = (uint16_t)element;
            }
            *mask |= (uint64_t)(element != 0) << (row * group_k(type) + j);
            count += element != 0;
        }
    return count;
}

static inline __attribute__((always_inline)) void pack_panel(const void *w, size_t w_stride, ck_type type, size_t rows, size_t k,
                                                             uint8_t *mask_at, uint8_t *value_at, int32_t *sums) {
    const size_t value_bytes = type == CK_INT8 ? 1 : 2;
    for (size_t group = 0; group < groups(k, type); group++, mask_at += mask_bytes(type)) {
        const size_t first = group * group_k(type);
        uint32_t elements[CK_PANEL_ROWS] = {0};
        if (first < k)
            for (size_t row = 0; row < rows; row++) elements[row] = load_group(w, row * w_stride + first, type, k - first);
        uint64_t mask, stored[9];  // 64 bytes, and one element that may be written beyond the last stored one
        const size_t count = pack_group(elements, type, &mask, stored, sums);
        memcpy(mask_at, &mask, mask_bytes(type));
        memcpy(value_at, stored, count * value_bytes);
        value_at += count * value_bytes;
    }
}

void ck_bitmap_pack(const void *w, size_t w_stride, ck_type type, size_t n, size_t k, size_t panel_begin, size_t panel_end,
                    const uint64_t *offsets, void *bitmap, void *values, int32_t *row_sum) {
    for (size_t panel = panel_begin; panel < panel_end; panel++) {
        const size_t rows = rows_of(panel, n), first = panel * CK_PANEL_ROWS * w_stride;
        uint8_t *const mask_at = (uint8_t *)bitmap + panel * panel_bitmap_bytes(k, type);
        int32_t sums[CK_PANEL_ROWS] = {0};
        if (type == CK_INT8)
            pack_panel((const uint8_t *)w + first, w_stride, CK_INT8, rows, k, mask_at, (uint8_t *)values + offsets[panel], sums);
        else
            pack_panel((const uint16_t *)w + first, w_stride, CK_BF16, rows, k, mask_at, (uint8_t *)values + 2 * offsets[panel],
                       sums);
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
