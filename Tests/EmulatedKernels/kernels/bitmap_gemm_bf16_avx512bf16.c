#include "emulate.h"
#include "bitmap_gemm/bitmap_gemm_bf16_avx512bf16.c"
