#include "emulate.h"
#include "latent_attention/latent_keys_bf16_amxbf16.c"
