#include "emulate.h"
#include "attention/attention_values_bf16_amxbf16.c"
