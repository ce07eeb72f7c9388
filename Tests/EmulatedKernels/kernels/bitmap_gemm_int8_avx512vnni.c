#include "emulate.h"
#include "bitmap_gemm/bitmap_gemm_int8_avx512vnni.c"
