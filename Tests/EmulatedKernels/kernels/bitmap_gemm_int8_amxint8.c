#include "emulate.h"
#include "bitmap_gemm/bitmap_gemm_int8_amxint8.c"
