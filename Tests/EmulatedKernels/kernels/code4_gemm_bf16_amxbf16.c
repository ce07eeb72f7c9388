#include "emulate.h"
#include "code4_gemm/code4_gemm_bf16_amxbf16.c"
