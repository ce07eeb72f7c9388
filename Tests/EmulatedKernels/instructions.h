// One use of each modelled instruction, written over the kernels' own seams and compiled twice: by instructions_model.c over the
// models, by instructions_hardware.c for the processor. Define CK_RUN(instruction), the function's name, and include once.
#include "instruction_case.h"
#include "support/isa.h"

#if CK_X86
CK_ISA_BEGIN(amxbf16)
#include "support/tile.h"

void CK_RUN(tdpbf16ps)(instruction_case *x) {
    ck_tile_configure(x->config);
    ck_tile_load(0, x->c, 64);
    ck_tile_load(1, x->a, 64);
    ck_tile_load(2, x->b, 64);
    ck_tile_dot_bf16(0, 1, 2);
    ck_tile_store(0, x->c, 64);
    ck_tile_release();
}
CK_ISA_END

CK_ISA_BEGIN(amxint8)
void CK_RUN(tdpbssd)(instruction_case *x) {
    ck_tile_configure(x->config);
    ck_tile_load(0, x->c, 64);
    ck_tile_load(1, x->a, 64);
    ck_tile_load(2, x->b, 64);
    ck_tile_dot_int8(0, 1, 2);
    ck_tile_store(0, x->c, 64);
    ck_tile_release();
}
CK_ISA_END

CK_ISA_BEGIN(avx512bf16)
void CK_RUN(vdpbf16ps)(instruction_case *x) {
    const __m512bh a = (__m512bh)_mm512_load_si512(x->a), b = (__m512bh)_mm512_load_si512(x->b);
    _mm512_store_ps(x->c, _mm512_dpbf16_ps(_mm512_load_ps(x->c), a, b));
}
CK_ISA_END

CK_ISA_BEGIN(avx512vnni)
void CK_RUN(vpdpwssd)(instruction_case *x) {
    const __m512i a = _mm512_load_si512(x->a), b = _mm512_load_si512(x->b);
    _mm512_store_si512(x->c, _mm512_dpwssd_epi32(_mm512_load_si512(x->c), a, b));
}

void CK_RUN(vpdpbusd)(instruction_case *x) {
    const __m512i a = _mm512_load_si512(x->a), b = _mm512_load_si512(x->b);
    _mm512_store_si512(x->c, _mm512_dpbusd_epi32(_mm512_load_si512(x->c), a, b));
}
CK_ISA_END
#endif
