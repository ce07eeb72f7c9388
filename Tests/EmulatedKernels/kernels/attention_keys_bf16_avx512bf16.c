#include "emulate.h"
#include "attention/attention_keys_bf16_avx512bf16.c"
