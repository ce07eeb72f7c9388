// The elementwise functions, best first. AVX-512 would add nothing: these steps take a hundredth of a model's time.
#include "elementwise/elementwise.h"
#include "support/isa.h"

static const ck_elementwise functions[] = {
#if CK_X86
    {CK_NEEDS(avx2), ck_rms_norm_avx2, ck_swiglu_avx2, ck_add_avx2},
#endif
    {CK_ISA_SCALAR, ck_rms_norm_scalar, ck_swiglu_scalar, ck_add_scalar},
};

const ck_elementwise *ck_elementwise_functions(size_t *count) {
    *count = sizeof functions / sizeof *functions;
    return functions;
}
