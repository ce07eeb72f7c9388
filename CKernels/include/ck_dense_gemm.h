// dense_gemm: bf16 weights, every element stored.
#pragma once
#include "ck_gemm.h"

#pragma clang assume_nonnull begin

#ifdef __cplusplus
extern "C" {
#endif

// W[n x k] packed by ck_dense_pack: ck_dense_packed_bytes(n, k) bytes, 64-byte aligned.
typedef struct {
    const uint16_t *values;
} ck_dense_weights;

// Layout: panels of 16 rows, one after the other; in a panel the k pairs in order, for each the 16 rows' pairs.
//
//   values[((panel * k_padded/2 + kpair) * 16 + row) * 2 + (k & 1)]
//
//   64 bytes  = one k pair of 16 rows        = one zmm: dword lane = row
//   1024 bytes = 16 k pairs (32 k) of 16 rows = one AMX B tile
//
// Rows beyond n and columns beyond k are +0.
size_t ck_dense_packed_bytes(size_t n, size_t k);  // 0 when the size overflows
void ck_dense_pack(const uint16_t *w, size_t w_stride, size_t n, size_t k, size_t panel_begin, size_t panel_end,
                   uint16_t *values);
void ck_dense_unpack(const uint16_t *values, size_t n, size_t k, size_t panel_begin, size_t panel_end, uint16_t *w,
                     size_t w_stride);

typedef struct __attribute__((swift_attr("@Sendable"))) {
    const char *name;   // e.g. "dense_gemm_avx512bf16"; the last part is the ISA tag
    ck_isa      isa;    // every bit needed
    uint32_t    min_m;  // chosen from this many rows of x on; it computes any m
    // bytes of scratch (64-byte aligned, contents irrelevant) that one thread needs for a call
    size_t (*scratch_bytes)(const ck_gemm_call *call);
    // computes output rows 16*panel_begin ..< min(16*panel_end, n) for all m
    void (*run)(const ck_gemm_call *call, const ck_dense_weights *w, size_t panel_begin, size_t panel_end,
                void *_Nullable scratch);
} ck_dense_gemm_variant;

// Best first; the scalar reference is last and needs nothing.
const ck_dense_gemm_variant *ck_dense_gemm_variants(size_t *count);

#ifdef __cplusplus
}
#endif

#pragma clang assume_nonnull end
