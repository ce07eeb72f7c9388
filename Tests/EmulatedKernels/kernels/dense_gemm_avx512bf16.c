#include "emulate.h"
#include "dense_gemm/dense_gemm_avx512bf16.c"
