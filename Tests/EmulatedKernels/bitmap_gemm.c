// The emulated variants of bitmap_gemm as a table, from the shipped list.
#include "emulate.h"
#include "emulated_kernels.h"

#define CK_BITMAP_GEMM(fn, type, isa, min_m, scratch) CK_MODEL_##isa({#fn, type, isa, min_m, ck_##scratch, ck_##fn}, )
static const ck_bitmap_gemm_variant table[] = {
#include "bitmap_gemm/variants.inc"
};
#undef CK_BITMAP_GEMM

const ck_bitmap_gemm_variant *ck_bitmap_gemm_emulated(size_t *count) {
    *count = sizeof table / sizeof *table;
    return table;
}
