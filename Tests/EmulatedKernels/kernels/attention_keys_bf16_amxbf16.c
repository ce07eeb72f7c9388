#include "emulate.h"
#include "attention/attention_keys_bf16_amxbf16.c"
