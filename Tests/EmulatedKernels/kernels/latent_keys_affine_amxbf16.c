#include "emulate.h"
#include "latent_attention/latent_keys_affine_amxbf16.c"
