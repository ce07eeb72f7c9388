#include "emulate.h"
#include "latent_attention/latent_keys_affine_avx512bf16.c"
