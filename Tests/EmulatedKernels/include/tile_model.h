// The eight tiles of AMX as C: what support/tile.h compiles to under CK_EMULATE. Each thread has its own tiles. A use that a
// processor answers with a fault does nothing and is noted in model_fault.h. Loads and stores touch rows x bytes of the
// configured shape, no more.
#pragma once
#include <stddef.h>

#pragma clang assume_nonnull begin

#ifdef __cplusplus
extern "C" {
#endif

// 64 bytes in the form of LDTILECFG: palette, start row, 14 zeros, sixteen 16-bit row lengths, sixteen 8-bit row counts.
void ck_tile_model_configure(const void *config);
void ck_tile_model_release(void);
void ck_tile_model_zero(int tile);
void ck_tile_model_load(int tile, const void *base, size_t stride);
void ck_tile_model_store(int tile, void *base, size_t stride);
// C[m][n] += A[m][..] B[..][n]; b is interleaved in groups of 4 bytes. Pairs of bf16 into fp32; four int8 into int32, which
// wraps.
void ck_tile_model_dot_bf16(int c, int a, int b);
void ck_tile_model_dot_int8(int c, int a, int b);

#ifdef __cplusplus
}
#endif

#pragma clang assume_nonnull end

#define ck_tile_configure(config)         ck_tile_model_configure(config)
#define ck_tile_release()                 ck_tile_model_release()
#define ck_tile_zero(tile)                ck_tile_model_zero(tile)
#define ck_tile_load(tile, base, stride)  ck_tile_model_load(tile, base, stride)
#define ck_tile_store(tile, base, stride) ck_tile_model_store(tile, base, stride)
#define ck_tile_dot_bf16(c, a, b)         ck_tile_model_dot_bf16(c, a, b)
#define ck_tile_dot_int8(c, a, b)         ck_tile_model_dot_int8(c, a, b)
