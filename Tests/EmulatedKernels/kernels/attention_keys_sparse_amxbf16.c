#include "emulate.h"
#include "attention/attention_keys_sparse_amxbf16.c"
