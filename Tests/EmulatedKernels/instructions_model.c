#include "emulate.h"
#define CK_RUN(instruction) ck_model_##instruction
#include "instructions.h"
