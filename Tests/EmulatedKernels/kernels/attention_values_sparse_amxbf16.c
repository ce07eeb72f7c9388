#include "emulate.h"
#include "attention/attention_values_sparse_amxbf16.c"
