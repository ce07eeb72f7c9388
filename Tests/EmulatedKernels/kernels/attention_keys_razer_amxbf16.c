#include "emulate.h"
#include "attention/attention_keys_razer_amxbf16.c"
