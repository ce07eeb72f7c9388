#include "emulate.h"
#include "code4_gemm/code4_gemm_int16_avx512vnni.c"
