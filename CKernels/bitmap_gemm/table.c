// The variants of bitmap_gemm as a table.
#include "ck_bitmap_gemm.h"
#include "support/isa.h"

#define CK_BITMAP_GEMM(fn, type, isa, min_m, scratch)                                                                            \
    size_t ck_##scratch(const ck_gemm_call *);                                                                                   \
    void ck_##fn(const ck_gemm_call *, const ck_bitmap_weights *, size_t, size_t, void *);
#include "bitmap_gemm/variants.inc"
#undef CK_BITMAP_GEMM

#define CK_BITMAP_GEMM(fn, type, isa, min_m, scratch) {#fn, type, isa, min_m, ck_##scratch, ck_##fn},
static const ck_bitmap_gemm_variant table[] = {
#include "bitmap_gemm/variants.inc"
};
#undef CK_BITMAP_GEMM

const ck_bitmap_gemm_variant *ck_bitmap_gemm_variants(size_t *count) {
    *count = sizeof table / sizeof *table;
    return table;
}
