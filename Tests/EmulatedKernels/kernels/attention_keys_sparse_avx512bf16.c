#include "emulate.h"
#include "attention/attention_keys_sparse_avx512bf16.c"
