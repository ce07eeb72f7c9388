// The emulated variants of code4_gemm as a table, from the shipped list.
#include "emulate.h"
#include "emulated_kernels.h"

#define CK_CODE4_GEMM(fn, type, isa, min_m, min_group, scratch)                                                                  \
    CK_MODEL_##isa({#fn, type, isa, min_m, min_group, ck_##scratch, ck_##fn}, )
static const ck_code4_gemm_variant table[] = {
#include "code4_gemm/variants.inc"
    {0},
};
#undef CK_CODE4_GEMM

const ck_code4_gemm_variant *ck_code4_gemm_emulated(size_t *count) {
    *count = sizeof table / sizeof *table - 1;
    return table;
}
