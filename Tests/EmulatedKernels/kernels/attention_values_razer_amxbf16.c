#include "emulate.h"
#include "attention/attention_values_razer_amxbf16.c"
