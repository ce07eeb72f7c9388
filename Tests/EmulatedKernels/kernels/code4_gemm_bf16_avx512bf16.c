#include "emulate.h"
#include "code4_gemm/code4_gemm_bf16_avx512bf16.c"
