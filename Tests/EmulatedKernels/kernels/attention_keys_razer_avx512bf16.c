#include "emulate.h"
#include "attention/attention_keys_razer_avx512bf16.c"
