// bitmap_gemm: weights as a bitmap and the non-zero values, bf16 or int8.
#pragma once
#include "ck_gemm.h"

#pragma clang assume_nonnull begin

#ifdef __cplusplus
extern "C" {
#endif

// W[n x k] packed by ck_bitmap_pack. bitmap, values and offsets come from one packing; see the layout below.
typedef struct {
    ck_type         type;              // CK_BF16 or CK_INT8
    const void     *bitmap;            // ck_bitmap_bytes(n, k)
    const void     *values;            // ck_bitmap_values_bytes(count, type), ends in 64 bytes of zeros
    const uint64_t *offsets;           // ck_panels(n) + 1: index of each panel's first value; the last is the count
    const float *_Nullable row_scale;  // int8: n floats, what one step of a row is worth
    const int32_t *_Nullable row_sum;  // int8: n sums of the row's values
} ck_bitmap_weights;

// Layout: panels of 16 rows; in a panel groups of 4 bytes of k (a pair of bf16, four int8), in order of k; a group's mask
// has one bit per element of 16 rows, set where a value is stored:
//
//   bf16: 32 bits per pair,      bit = 2 * row + (k & 1)      64 bytes of bitmap = 32 k of 16 rows = one AMX B tile
//   int8: 64 bits per quadruple, bit = 4 * row + (k & 3)     128 bytes of bitmap = 64 k of 16 rows = one AMX B tile
//
// The values follow in the same order without gaps; a panel's values begin at offsets[panel].
// bf16 elements are stored when any bit of them is set, so -0 is kept; int8 when they are not 0. int8 sums are int32: k is at
// most 131071.
size_t ck_bitmap_bytes(size_t n, size_t k, ck_type type);     // 0 when the size overflows
size_t ck_bitmap_values_bytes(uint64_t count, ck_type type);  // 0 when the size overflows

// Whether no value is NaN or infinity; only such bf16 weights are packed.
int ck_bf16_all_finite(const uint16_t *values, size_t count);
// Pass 1 counts each panel's non-zeros into counts[panel - panel_begin]; the caller sums them into offsets.
void ck_bitmap_count(const void *w, size_t w_stride, ck_type type, size_t n, size_t k, size_t panel_begin, size_t panel_end,
                     uint64_t *counts);
// Pass 2 writes the bitmap, values and (int8) row sums of a range of panels. w_stride in elements.
// Nothing beyond the values of these panels is written, so threads may pack ranges at once.
void ck_bitmap_pack(const void *w, size_t w_stride, ck_type type, size_t n, size_t k, size_t panel_begin, size_t panel_end,
                    const uint64_t *offsets, void *bitmap, void *values, int32_t *_Nullable row_sum);
void ck_bitmap_unpack(const ck_bitmap_weights *w, size_t n, size_t k, size_t panel_begin, size_t panel_end, void *target,
                      size_t target_stride);

// Kernels advance through the values by counting bitmap bits, so these must agree before a kernel sees them:
// offsets[0] = 0, offsets[p+1] - offsets[p] = set bits of panel p, offsets[last] = count, no bit set beyond n or k, row_sum true.
// CK_ERR_CORRUPT and the first wrong panel otherwise.
ck_status ck_bitmap_validate(const ck_bitmap_weights *w, size_t n, size_t k, uint64_t count, size_t *bad_panel);

typedef struct __attribute__((swift_attr("@Sendable"))) {
    const char *name;  // e.g. "bitmap_gemm_bf16_avx512bf16"; the last part is the ISA tag
    ck_type     type;  // of the weights it reads; x has the same type
    ck_isa      isa;
    uint32_t    min_m;
    size_t (*scratch_bytes)(const ck_gemm_call *call);
    void (*run)(const ck_gemm_call *call, const ck_bitmap_weights *w, size_t panel_begin, size_t panel_end,
                void *_Nullable scratch);
} ck_bitmap_gemm_variant;

const ck_bitmap_gemm_variant *ck_bitmap_gemm_variants(size_t *count);

#ifdef __cplusplus
}
#endif

#pragma clang assume_nonnull end
