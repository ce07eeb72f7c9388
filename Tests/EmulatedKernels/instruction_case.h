// Operands of one instruction. Tiles lie 64 bytes to the row in a, b and c, vectors in their first 64 bytes; c is the result too.
#pragma once
#include <stdint.h>

typedef struct {
    _Alignas(64) uint8_t config[64];  // of tiles 0, 1, 2 = c, a, b
    _Alignas(64) uint8_t a[1024], b[1024], c[1024];
} instruction_case;

void ck_model_tdpbf16ps(instruction_case *);
void ck_model_tdpbssd(instruction_case *);
void ck_model_vdpbf16ps(instruction_case *);
void ck_model_vpdpbusd(instruction_case *);
void ck_model_vpdpwssd(instruction_case *);

// Only where the processor has the instruction.
void ck_hardware_tdpbf16ps(instruction_case *);
void ck_hardware_tdpbssd(instruction_case *);
void ck_hardware_vdpbf16ps(instruction_case *);
void ck_hardware_vpdpbusd(instruction_case *);
void ck_hardware_vpdpwssd(instruction_case *);
