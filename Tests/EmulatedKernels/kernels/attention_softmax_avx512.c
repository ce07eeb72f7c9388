#include "emulate.h"
#include "attention/attention_softmax_avx512.c"
