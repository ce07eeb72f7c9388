#include "emulate.h"
#include "attention/attention_values_bf16_avx512.c"
