// Packs rows into bitmap and values, and back; checks packed weights. The layout is drawn in ck_bitmap_gemm.h.
#include <string.h>
#include "ck_bitmap_gemm.h"
#include "support/isa.h"
#include "support/pack_tile.h"

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

static uint64_t load_mask(const uint8_t *bitmap, ck_type type) {
    uint64_t mask = 0;
    memcpy(&mask, bitmap, mask_bytes(type));
    return mask;
}

int ck_bf16_all_finite(const uint16_t *values, size_t count) {
    int finite = 1;
    for (size_t i = 0; i < count; i++) finite &= (values[i] & 0x7F80) != 0x7F80;
    return finite;
}

// Counted in numbers as narrow as the elements, which a vector register holds most of, in stretches that such a number can count.
static size_t non_zeros_int8(const uint8_t *w, size_t count) {
    size_t total = 0;
    for (size_t at = 0; at < count; at += 128) {
        uint8_t part = 0;
        for (size_t i = at; i < (count - at < 128 ? count : at + 128); i++) part += w[i] != 0;
        total += part;
    }
    return total;
}

static size_t non_zeros_bf16(const uint16_t *w, size_t count) {
    size_t total = 0;
    for (size_t at = 0; at < count; at += 4096) {
        uint16_t part = 0;
        for (size_t i = at; i < (count - at < 4096 ? count : at + 4096); i++) part += w[i] != 0;
        total += part;
    }
    return total;
}

void ck_bitmap_count(const void *w, size_t w_stride, ck_type type, size_t n, size_t k, size_t panel_begin, size_t panel_end,
                     uint64_t *counts) {
    for (size_t panel = panel_begin; panel < panel_end; panel++) {
        uint64_t count = 0;
        for (size_t row = 0; row < ck_panel_rows(panel, n); row++) {
            const size_t at = (panel * CK_PANEL_ROWS + row) * w_stride;
            count += type == CK_INT8 ? non_zeros_int8((const uint8_t *)w + at, k) : non_zeros_bf16((const uint16_t *)w + at, k);
        }
        counts[panel - panel_begin] = count;
    }
}

typedef uint8_t bytes64 __attribute__((vector_size(64)));
typedef uint16_t halves32 __attribute__((vector_size(64)));
typedef _Bool bits64 __attribute__((ext_vector_type(64)));
typedef _Bool bits32 __attribute__((ext_vector_type(32)));

// A bit for each element of a group that is stored: a vector comparison on every target.
static uint64_t group_mask(const uint32_t group[CK_PANEL_ROWS], ck_type type) {
    uint64_t mask = 0;
    if (type == CK_INT8) {
        bytes64 elements;
        memcpy(&elements, group, sizeof elements);
        const bits64 stored = __builtin_convertvector(elements != 0, bits64);
        memcpy(&mask, &stored, 8);
    } else {
        halves32 elements;
        memcpy(&elements, group, sizeof elements);
        const bits32 stored = __builtin_convertvector(elements != 0, bits32);
        memcpy(&mask, &stored, 4);
    }
    return mask;
}

// Writes every element of a group and advances past those that are stored: half of the weights are zeros at random, which no
// branch predictor likes. Element i is written at i or before, so 64 bytes from `target` on are enough. Returns the stored bytes.
CK_INLINE size_t squeeze(const uint32_t group[CK_PANEL_ROWS], ck_type type, uint8_t *target) {
    size_t count = 0;
    if (type == CK_INT8) {
        const uint8_t *const elements = (const uint8_t *)group;
        for (size_t i = 0; i < 64; i++) {
            target[count] = elements[i];
            count += elements[i] != 0;
        }
        return count;
    } else {
        for (size_t i = 0; i < 32; i++) {
            uint16_t element;
            memcpy(&element, (const uint16_t *)group + i, sizeof element);
            memcpy(target + 2 * count, &element, sizeof element);
            count += element != 0;
        }
        return 2 * count;
    }
}

// The values of one panel on their way into memory that ends with the panel: the next one may be another thread's.
typedef struct {
    uint8_t *at, *end;
} value_stream;

CK_INLINE void append_group(value_stream *values, const uint32_t group[CK_PANEL_ROWS], ck_type type) {
    if (values->end - values->at >= CK_TILE_BYTES) {
        values->at += squeeze(group, type, values->at);
    } else {
        uint8_t staged[CK_TILE_BYTES];
        const size_t bytes = squeeze(group, type, staged);
        memcpy(values->at, staged, bytes);
        values->at += bytes;
    }
}

CK_INLINE void pack_panel(const char *w, size_t w_stride, ck_type type, size_t rows, size_t k, uint8_t *mask_at,
                          value_stream values, int32_t *sums) {
    const size_t row_bytes = k * (type == CK_INT8 ? 1 : 2);
    for (size_t at = 0; at < row_bytes; at += CK_TILE_BYTES) {
        const size_t left = row_bytes - at;
        uint32_t tile[CK_PANEL_ROWS][CK_TILE_WORDS], turned[CK_TILE_WORDS][CK_PANEL_ROWS];
        ck_tile_load(w + at, w_stride, rows, left < CK_TILE_BYTES ? left : CK_TILE_BYTES, tile);
        ck_tile_transpose(tile, turned);
        for (size_t group = 0; group < CK_TILE_WORDS; group++, mask_at += mask_bytes(type)) {
            const uint64_t mask = group_mask(turned[group], type);
            memcpy(mask_at, &mask, mask_bytes(type));
            append_group(&values, turned[group], type);
        }
        if (type == CK_INT8)
            for (size_t row = 0; row < CK_PANEL_ROWS; row++)
                for (size_t i = 0; i < CK_TILE_BYTES; i++) sums[row] += ((const int8_t *)tile[row])[i];
    }
}

void ck_bitmap_pack(const void *w, size_t w_stride, ck_type type, size_t n, size_t k, size_t panel_begin, size_t panel_end,
                    const uint64_t *offsets, void *bitmap, void *values, int32_t *row_sum) {
    const size_t width = type == CK_INT8 ? 1 : 2, stride = w_stride * width;
    for (size_t panel = panel_begin; panel < panel_end; panel++) {
        const size_t rows = ck_panel_rows(panel, n);
        const char *const source = (const char *)w + panel * CK_PANEL_ROWS * stride;
        uint8_t *const mask_at = (uint8_t *)bitmap + panel * panel_bitmap_bytes(k, type);
        const value_stream stream = {(uint8_t *)values + width * offsets[panel], (uint8_t *)values + width * offsets[panel + 1]};
        int32_t sums[CK_PANEL_ROWS] = {0};
        if (type == CK_INT8) pack_panel(source, stride, CK_INT8, rows, k, mask_at, stream, sums);
        else pack_panel(source, stride, CK_BF16, rows, k, mask_at, stream, sums);
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
        const size_t rows = ck_panel_rows(panel, n);
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
