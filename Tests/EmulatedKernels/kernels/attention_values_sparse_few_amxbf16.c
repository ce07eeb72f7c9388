#include "emulate.h"
#include "attention/attention_values_sparse_few_amxbf16.c"
