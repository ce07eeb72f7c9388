#include "emulate.h"
#include "code4_gemm/code4_gemm_int8_avx512vnni.c"
