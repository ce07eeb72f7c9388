// code4_gemm of int8 rows of x, AVX-512 VNNI.
#include "code4_gemm/code4_layout.h"
#include "support/isa.h"

#if CK_X86
#include "support/for_rows.h"
#include "support/prefetch.h"

CK_ISA_BEGIN(avx512vnni)
#include "support/store_avx512.h"
#include "code4_gemm/code4_avx512.h"
#include "code4_gemm/code4_expand_avx512.h"

enum { CODE4_PLANES = 1 };
#include "code4_gemm/code4_vnni.h"

size_t ck_code4_gemm_int8_avx512vnni_scratch(const ck_gemm_call *call, const ck_code4_weights *w) {
    return scratch_bytes(call, w);
}

void ck_code4_gemm_int8_avx512vnni(const ck_gemm_call *call, const ck_code4_weights *w, size_t panel_begin, size_t panel_end,
                                   void *scratch) {
    multiply(call, w, panel_begin, panel_end, scratch);
}

CK_ISA_END
#endif
