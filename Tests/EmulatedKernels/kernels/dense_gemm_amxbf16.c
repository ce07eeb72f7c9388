#include "emulate.h"
#include "dense_gemm/dense_gemm_amxbf16.c"
