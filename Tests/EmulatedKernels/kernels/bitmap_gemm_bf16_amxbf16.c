#include "emulate.h"
#include "bitmap_gemm/bitmap_gemm_bf16_amxbf16.c"
