// The emulated variants of dense_gemm as a table, from the shipped list.
#include "emulate.h"
#include "emulated_kernels.h"

#define CK_DENSE_GEMM(fn, isa, min_m, scratch) CK_MODEL_##isa({#fn, isa, min_m, ck_##scratch, ck_##fn}, )
static const ck_dense_gemm_variant table[] = {
#include "dense_gemm/variants.inc"
};
#undef CK_DENSE_GEMM

const ck_dense_gemm_variant *ck_dense_gemm_emulated(size_t *count) {
    *count = sizeof table / sizeof *table;
    return table;
}
