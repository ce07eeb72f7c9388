// The variants of dense_gemm as a table.
#include "ck_dense_gemm.h"
#include "support/isa.h"

#define CK_DENSE_GEMM(fn, isa, min_m, scratch)                                                                                   \
    size_t ck_##scratch(const ck_gemm_call *);                                                                                   \
    void ck_##fn(const ck_gemm_call *, const ck_dense_weights *, size_t, size_t, void *);
#include "dense_gemm/variants.inc"
#undef CK_DENSE_GEMM

#define CK_DENSE_GEMM(fn, isa, min_m, scratch) {#fn, isa, min_m, ck_##scratch, ck_##fn},
static const ck_dense_gemm_variant table[] = {
#include "dense_gemm/variants.inc"
};
#undef CK_DENSE_GEMM

const ck_dense_gemm_variant *ck_dense_gemm_variants(size_t *count) {
    *count = sizeof table / sizeof *table;
    return table;
}
