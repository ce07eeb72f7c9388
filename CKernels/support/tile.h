// The seam between AMX kernels and the tile unit. Kernels name tiles by constants 0...7 and use nothing but these;
// Tests/EmulatedKernels compiles the same kernels over a C model of the eight tiles. Include inside an ISA region.
#pragma once

typedef struct __attribute__((aligned(64))) {
    uint8_t palette, start_row, reserved[14];
    uint16_t bytes[16];  // bytes of a row, tiles 0...7; the rest stays 0
    uint8_t rows[16];
} ck_tile_config;

CK_INLINE void ck_tile_shape(ck_tile_config *config, int tile, size_t rows, size_t bytes) {
    config->rows[tile] = (uint8_t)rows;
    config->bytes[tile] = (uint16_t)bytes;
}

#if CK_EMULATE
#include "tile_model.h"
#else
#define ck_tile_configure(config)         _tile_loadconfig(config)
#define ck_tile_release()                 _tile_release()
#define ck_tile_zero(tile)                _tile_zero(tile)
#define ck_tile_load(tile, base, stride)  _tile_loadd(tile, base, stride)
#define ck_tile_store(tile, base, stride) _tile_stored(tile, base, stride)
#define ck_tile_dot_bf16(c, a, b)         _tile_dpbf16ps(c, a, b)
#define ck_tile_dot_int8(c, a, b)         _tile_dpbssd(c, a, b)
#endif

// Vector stores become visible to a following tile load in program order; the compiler must keep that order.
#define ck_tile_fence() __asm__ volatile("" ::: "memory")
