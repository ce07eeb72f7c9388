// code4_gemm of int8 rows of x, the definition.
#include "code4_gemm/code4_integers_scalar.h"

void ck_code4_gemm_int8_scalar(const ck_gemm_call *call, const ck_code4_weights *w, size_t panel_begin, size_t panel_end,
                               void *scratch) {
    code4_multiply_integers(call, w, panel_begin, panel_end, scratch, 1);
}
