// code4_gemm of int8 rows of x, AMX INT8.
#include "code4_gemm/code4_layout.h"
#include "support/isa.h"

#if CK_X86
#include "support/prefetch.h"

CK_ISA_BEGIN(amxint8)
#include "support/store_avx512.h"
#include "code4_gemm/code4_avx512.h"

enum { AMX_PLANES = 1 };
#include "code4_gemm/code4_amxint8.h"

size_t ck_code4_gemm_int8_amxint8_scratch(const ck_gemm_call *call, const ck_code4_weights *w) {
    (void)w;
    return scratch_bytes(call);
}

void ck_code4_gemm_int8_amxint8(const ck_gemm_call *call, const ck_code4_weights *w, size_t panel_begin, size_t panel_end,
                                void *scratch) {
    multiply(call, w, panel_begin, panel_end, scratch);
}

CK_ISA_END
#endif
