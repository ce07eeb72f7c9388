#include "emulate.h"
#include "attention/attention_keys_int8_amxint8.c"
