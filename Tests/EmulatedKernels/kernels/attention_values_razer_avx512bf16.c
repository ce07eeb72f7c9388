#include "emulate.h"
#include "attention/attention_values_razer_avx512bf16.c"
