#define CK_RUN(instruction) ck_hardware_##instruction
#include "instructions.h"
