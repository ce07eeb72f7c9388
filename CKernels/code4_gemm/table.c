// The variants of code4_gemm as a table.
#include "code4_gemm/code4_layout.h"
#include "support/isa.h"

// The scalar references': a panel of weights with a bitmap, expanded.
size_t ck_code4_scalar_scratch(const ck_gemm_call *call, const ck_code4_weights *w) {
    (void)call;
    return code4_room_bytes(w);
}

#define CK_CODE4_GEMM(fn, type, isa, min_m, min_group, scratch)                                                                  \
    size_t ck_##scratch(const ck_gemm_call *, const ck_code4_weights *);                                                         \
    void ck_##fn(const ck_gemm_call *, const ck_code4_weights *, size_t, size_t, void *);
#include "code4_gemm/variants.inc"
#undef CK_CODE4_GEMM

#define CK_CODE4_GEMM(fn, type, isa, min_m, min_group, scratch) {#fn, type, isa, min_m, min_group, ck_##scratch, ck_##fn},
static const ck_code4_gemm_variant table[] = {
#include "code4_gemm/variants.inc"
};
#undef CK_CODE4_GEMM

const ck_code4_gemm_variant *ck_code4_gemm_variants(size_t *count) {
    *count = sizeof table / sizeof *table;
    return table;
}
