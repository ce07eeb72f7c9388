#include "emulate.h"
#include "support/scratch.c"
