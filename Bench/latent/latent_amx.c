// The shipped latent_keys_bf16_amxbf16, whole or with stages left out or moved.
#include "latent_stages.h"
#include "support/isa.h"

CK_ISA_BEGIN(amxbf16)
#include "support/tile.h"

#if NO_MULTIPLY
#undef ck_tile_dot_bf16
#define ck_tile_dot_bf16(c, a, b) ((void)0)
#endif
#if NO_DOTS
#include "support/for_rows.h"
#undef CK_FOR_ROWS_4
#define CK_FOR_ROWS_4(rows, CALL) (void)(rows), (void)product, (void)angles, (void)q, (void)sums;
#endif
CK_ISA_END

stage_run STAGE_RUN;
stage_scratch STAGE_SCRATCH;
#define ck_latent_keys_bf16_amxbf16         STAGE_RUN
#define ck_latent_keys_bf16_amxbf16_scratch STAGE_SCRATCH
#include "latent_attention/latent_keys_bf16_amxbf16.c"
