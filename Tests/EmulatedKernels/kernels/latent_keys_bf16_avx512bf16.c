#include "emulate.h"
#include "latent_attention/latent_keys_bf16_avx512bf16.c"
