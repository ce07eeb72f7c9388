// code4_gemm: weights as 4-bit codes that stand for the entries of a table, with a scale for every group of codes. One family of
// kernels reads RaZeR, FP4, NVFP4, MXFP4, NF4, IQ4_NL and symmetric int4: they differ in tables, group sizes and scales alone.
//
//     W[n][k] = tensor_scale * scale(n, k / group) * table[selector(n, k / group)][code(n, k)]
//
// With a bitmap, codes that are 0 are left out.
#pragma once
#include "ck_gemm.h"

#pragma clang assume_nonnull begin

#ifdef __cplusplus
extern "C" {
#endif

// How a group's scale is stored, and with it the selector that names the group's table.
typedef enum __attribute__((enum_extensibility(open))) : uint32_t {
    CK_SCALE_F16          = 0,  // 2 bytes: fp16; selector 0
    CK_SCALE_F16_SELECTOR = 1,  // 2 bytes: fp16 whose two lowest bits are the selector and count as 0 in the scale
    CK_SCALE_INDEX        = 2,  // 1 byte: bits 5..0 name an entry of scale_values, bits 7..6 are the selector
    CK_SCALE_E4M3         = 3,  // 1 byte: bits 6..0 are E4M3 (bias 7, 0x7F not allowed), bit 7 is the selector
} ck_scale_type;

// What codes and scale indices are worth.
//
//   values        bf16, at most 4 significant bits where group is 16, so that values * scale is exact in bf16
//   integers      the same numbers as integers in -127...127; read by int8 kernels only, which other tables cannot use
//   scale_values  bf16, at most 4 significant bits; CK_SCALE_INDEX only
//
// The four tables differ in entry 8 alone, the special value of RaZeR: kernels without a table of 64 entries rely on it.
typedef struct {
    uint16_t values[4][16];
    int8_t   integers[4][16];
    uint16_t scale_values[64];
} ck_code4_tables;

// Where a prefix of W lies in what was packed. A matrix of several heads, say, is cut to a prefix of every head:
//
//   outputs  blocks of block_panels panels, the first kept_panels of each taken
//   inputs   blocks of block_k inputs, the first kept_k of each taken; call->k is a multiple of kept_k. With one block any
//            kept_k up to the packed k is right; with several block_k is a multiple of 64. Weights with a bitmap have one block.
//
// The whole matrix is one block that is kept: {panels, panels, k, k}.
typedef struct {
    size_t block_panels, kept_panels;
    size_t block_k, kept_k;
} ck_code4_view;

// W[n x k] packed by ck_code4_pack_codes and ck_code4_pack_scales, seen through `view`.
typedef struct {
    const uint8_t *codes;               // ck_code4_codes_bytes(packed n, packed_k); with a bitmap ck_code4_stored_bytes
    const uint64_t *_Nullable bitmap;   // ck_bitmap_bytes(packed n, packed_k, CK_INT8); NULL: every code is stored
    const uint64_t *_Nullable offsets;  // with a bitmap, ck_panels(packed n) + 1: where each panel's codes begin, and the end
    const void            *scales;      // ck_code4_scales_bytes(packed n, packed_k, group, scale_type)
    const ck_code4_tables *tables;
    ck_scale_type          scale_type;
    uint32_t               group;  // 16, 32, 64 or 128; 16 only with scales of 1 byte
    float                  tensor_scale;
    size_t                 packed_k;
    ck_code4_view          view;
} ck_code4_weights;

// Layout: panels of 16 rows. In a panel a line of 64 bytes holds 8 consecutive k of all rows; a step is 8 lines, 64 k.
//
//                    byte 4 * row + 0     + 1         + 2         + 3
//   low nibble       k = 8 line + 0       1           2           3
//   high nibble      k = 8 line + 4       5           6           7
//
// As dwords, a lane for each row: the low nibbles are four int8 in order, the high ones the next four. As words, shifted right by
// 0, 4, 8 and 12: pairs of bf16, k = (0 2), (4 6), (1 3), (5 7), which is why bf16 rows of x have the even elements of every 8
// before the odd ones (CK_X_EVEN_ODD). Two lines are four rows of an int8 B tile, one line four rows of a bf16 B tile.
//
// A panel's codes are whole steps; scales are [panel][group][row], groups up to the end of the last step. Codes beyond k and
// scales beyond n or k are 0.
//
// With a bitmap only the codes that are not 0 are stored; code 0 has to be worth 0 in every table. The bitmap is that of int8
// weights in ck_bitmap_gemm.h, bit = 4 * row + (k & 3) of a mask for four k. So masks 2 l and 2 l + 1 say which low and which
// high nibbles of line l are stored. Low nibbles stay low ones, high nibbles stay high ones, each in the order of the bits:
//
//   byte i of a panel    low nibble: stored code i of the even masks    high nibble: stored code i of the odd masks
//
// A panel has as many bytes as the more numerous of the two; the others are followed by zeros. Where half of the codes are zeros
// at random that costs 0.3% of 4096 k, and no code has to move within its byte on its way into a line. Panels follow one another,
// then come zeros.
static inline size_t ck_code4_padded(size_t k) { return (k + 63) / 64 * 64; }
static inline size_t ck_code4_groups(size_t k, size_t group) { return (ck_code4_padded(k) + group - 1) / group; }
static inline size_t ck_code4_scale_width(ck_scale_type type) { return type >= CK_SCALE_INDEX ? 1 : 2; }
size_t ck_code4_codes_bytes(size_t n, size_t k);                                     // 0 when the size overflows
size_t ck_code4_scales_bytes(size_t n, size_t k, size_t group, ck_scale_type type);  // 0 when the size overflows

// A row of x as kernels read it: for each block of inputs its kept_k elements, padded with zeros to whole steps.
// call->x_stride is the bytes of such a row or more. bf16 rows are in the order CK_X_EVEN_ODD.
static inline size_t ck_code4_x_elements(size_t k, const ck_code4_view *view) {
    return k / view->kept_k * ck_code4_padded(view->kept_k);
}

// One code a byte (0...15) and one scale, of either width, an uint16_t; rows of W `stride` elements apart; into a range of
// panels, and back. The scales of a row are the ceil(k / group) of its inputs.
void ck_code4_pack_codes(const uint8_t *source, size_t stride, size_t n, size_t k, size_t panel_begin, size_t panel_end,
                         uint8_t *codes);
void ck_code4_unpack_codes(const uint8_t *codes, size_t n, size_t k, size_t panel_begin, size_t panel_end, uint8_t *target,
                           size_t stride);
void ck_code4_pack_scales(const uint16_t *source, size_t stride, size_t n, size_t k, size_t group, ck_scale_type scale_type,
                          size_t panel_begin, size_t panel_end, void *scales);
void ck_code4_unpack_scales(const void *scales, size_t n, size_t k, size_t group, ck_scale_type scale_type, size_t panel_begin,
                            size_t panel_end, uint16_t *target, size_t stride);

// The same with a bitmap, in two passes. The first counts the bytes of each panel into counts[panel - panel_begin], which the
// caller sums into offsets. The second writes the bitmap and the codes of a range of panels; `codes` is all zeros before. Threads
// may pack ranges at once.
size_t ck_code4_stored_bytes(uint64_t count);  // of `codes`, the last offset being `count`; 0 when the size overflows
void ck_code4_count_stored(const uint8_t *source, size_t stride, size_t n, size_t k, size_t panel_begin, size_t panel_end,
                           uint64_t *counts);
void ck_code4_pack_stored(const uint8_t *source, size_t stride, size_t n, size_t k, size_t panel_begin, size_t panel_end,
                          const uint64_t *offsets, uint64_t *bitmap, uint8_t *codes);
// Panels of packed rows as ck_code4_pack_codes lays them out, the first of them at `codes`.
void ck_code4_expand(const ck_code4_weights *w, size_t panel_begin, size_t panel_end, uint8_t *codes);

// What a stored scale is worth, and its selector. `bits` as stored, zero-extended.
float ck_code4_scale(uint32_t bits, ck_scale_type type, const ck_code4_tables *tables);
unsigned ck_code4_selector(uint32_t bits, ck_scale_type type);

// Rows of the view as fp32, tensor_scale included, those of panel_begin first. n and k are the view's.
void ck_code4_dequantize(const ck_code4_weights *w, size_t n, size_t k, size_t panel_begin, size_t panel_end, float *target,
                         size_t stride);

// Scales must be finite before a kernel sees them, and a bitmap name no weight beyond n or k and agree with offsets and codes:
// offsets[0] = 0, a panel has the bytes that its bits say, the last code of either half of them is not 0 and what follows it is.
// CK_ERR_CORRUPT and the first panel of which that is not true.
ck_status ck_code4_validate(const ck_code4_weights *w, size_t n, size_t k, size_t *bad_panel);

typedef struct __attribute__((swift_attr("@Sendable"))) {
    const char *name;    // e.g. "code4_gemm_int8_avx512vnni"; the last part is the ISA tag
    ck_type     x_type;  // CK_BF16, CK_INT16 or CK_INT8
    ck_isa      isa;
    uint32_t    min_m;
    uint32_t    min_group;  // the smallest group that it reads
    size_t (*scratch_bytes)(const ck_gemm_call *call, const ck_code4_weights *w);
    void (*run)(const ck_gemm_call *call, const ck_code4_weights *w, size_t panel_begin, size_t panel_end,
                void *_Nullable scratch);
} ck_code4_gemm_variant;

const ck_code4_gemm_variant *ck_code4_gemm_variants(size_t *count);

#ifdef __cplusplus
}
#endif

#pragma clang assume_nonnull end
