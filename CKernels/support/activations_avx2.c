// The conversions of support/activations.h, eight elements at a time.
#include "support/activations_avx2.h"
#include "support/isa.h"

#if CK_X86
#include <math.h>
#include "ck_gemm.h"
#include "support/bf16.h"

CK_ISA_BEGIN(avx2)
#define CK_X(name) name##_avx2
#include "support/activations.h"

void ck_x_from_f32_avx2(const float *source, size_t columns, size_t padded, uint16_t *target) {
    from_f32_avx2(source, columns, padded, target);
}

float ck_x_quantize_f32_avx2(const float *source, size_t columns, size_t padded, int8_t *target) {
    return quantize_f32_avx2(source, columns, padded, target);
}

float ck_x_quantize_bf16_avx2(const uint16_t *source, size_t columns, size_t padded, int8_t *target) {
    return quantize_bf16_avx2(source, columns, padded, target);
}

CK_ISA_END
#endif
