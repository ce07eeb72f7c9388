// The shipped latent_keys_bf16_avx2.
#include "latent_stages.h"

stage_run STAGE_RUN;
stage_scratch STAGE_SCRATCH;
#define ck_latent_keys_bf16_avx2         STAGE_RUN
#define ck_latent_keys_bf16_avx2_scratch STAGE_SCRATCH
#include "latent_attention/latent_keys_bf16_avx2.c"
