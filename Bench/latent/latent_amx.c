// The shipped latent_keys_bf16_amxbf16, whole or with stages left out or moved.
#include "latent_stages.h"
#include "support/isa.h"

CK_ISA_BEGIN(amxbf16)
#include "support/tile.h"
#include "support/for_rows.h"
#include "latent_attention/latent_keys.h"

#if NO_MULTIPLY
#undef ck_tile_dot_bf16
#define ck_tile_dot_bf16(c, a, b) ((void)0)
#endif
#if NO_DOTS
#undef CK_FOR_ROWS_4
#define CK_FOR_ROWS_4(rows, CALL) (void)(rows), (void)dots, (void)row, (void)pair;
#endif
#if NO_PREFETCH
#define latent_ask_ahead(ahead) ((void)(ahead))
#endif
// Nothing waits to be multiplied while tiles are.
#if DOTS_APART
#define latent_pieces(dots) ((void)(dots), (size_t)0)
#endif
// Tiles 4 and 5 are B: ask for their lines so many steps ahead.
#if B_AHEAD && !CK_EMULATE
#undef ck_tile_load
#define ck_tile_load(tile, base, stride)                                                                                         \
    do {                                                                                                                         \
        const char *const from = (base);                                                                                         \
        if ((tile) == 4 || (tile) == 5)                                                                                          \
            for (int i = 0; i < 16; i++) _mm_prefetch(from + B_AHEAD * 2048 + 64 * i, _MM_HINT_T0);                              \
        _tile_loadd(tile, from, stride);                                                                                         \
    } while (0)
#endif
CK_ISA_END

stage_run STAGE_RUN;
stage_scratch STAGE_SCRATCH;
#define ck_latent_keys_bf16_amxbf16         STAGE_RUN
#define ck_latent_keys_bf16_amxbf16_scratch STAGE_SCRATCH
#include "latent_attention/latent_keys_bf16_amxbf16.c"
