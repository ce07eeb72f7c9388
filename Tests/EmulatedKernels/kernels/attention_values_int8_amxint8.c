#include "emulate.h"
#include "attention/attention_values_int8_amxint8.c"
