#include "emulate.h"
#include "attention/attention_values_sparse_avx512bf16.c"
