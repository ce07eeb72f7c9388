#include "emulate.h"
#include "attention/attention_values_int8_avx512vnni.c"
