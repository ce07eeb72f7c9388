#include "emulate.h"
#include "attention/attention_keys_int8_avx512vnni.c"
