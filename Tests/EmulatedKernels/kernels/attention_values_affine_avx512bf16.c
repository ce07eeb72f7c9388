#include "emulate.h"
#include "attention/attention_values_affine_avx512bf16.c"
