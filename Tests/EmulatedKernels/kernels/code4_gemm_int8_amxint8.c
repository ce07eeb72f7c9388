#include "emulate.h"
#include "code4_gemm/code4_gemm_int8_amxint8.c"
