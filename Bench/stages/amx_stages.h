// Leaves stages out of an AMX kernel through the seam support/tile.h and the intrinsics that the kernel is made of. Include
// inside the ISA region, before the kernel. Over the models of the instructions nothing is left out: only results count there.
#pragma once
#include "support/tile.h"
#include "support/expand_avx512.h"

#if !CK_EMULATE
#if NO_MULTIPLY
#undef ck_tile_dot_bf16
#define ck_tile_dot_bf16(c, a, b) ((void)0)
#endif

// Tiles 4 and 5 are x, 6 and 7 weights.
#if NO_X && NO_EXPAND
#define STAGE_FIXED(tile) ((tile) >= 4)
#elif NO_X
#define STAGE_FIXED(tile) ((tile) == 4 || (tile) == 5)
#elif NO_EXPAND
#define STAGE_FIXED(tile) ((tile) >= 6)
#endif
#ifdef STAGE_FIXED
#undef ck_tile_load
#define ck_tile_load(tile, base, stride)                                                                                         \
    do {                                                                                                                         \
        const char *const at = (base);                                                                                           \
        _tile_loadd(tile, STAGE_FIXED(tile) ? stage_fixed_tile : at, STAGE_FIXED(tile) ? 64 : (stride));                         \
    } while (0)
#endif

// Neither masks nor values are loaded, and the ring stays as it was; all the prefetches are left.
#if NO_EXPAND
#define ck_expand_bf16(mask, value)    ((void)(mask), *(value) += stage_line_values, _mm512_setzero_si512())
#define _mm512_store_si512(at, vector) ((void)(at), (void)(vector))
#endif

#if NO_PREFETCH
#undef _mm_prefetch
#define _mm_prefetch(address, hint) ((void)(address))
#endif

#endif
