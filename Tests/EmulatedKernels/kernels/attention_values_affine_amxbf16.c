#include "emulate.h"
#include "attention/attention_values_affine_amxbf16.c"
