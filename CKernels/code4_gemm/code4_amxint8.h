// code4_gemm of int8 rows of x or of int16 rows, which are two planes of int8, on the tile unit: signed by signed, the sum of a
// group exact. To the loops of support/gemm_groups_amx.h, which see 2 m rows of int8, planes are rows whose C are added behind
// the tile unit, 256 times the first and the second: below 128 * 32639 * 127 < 2^29. A step is one tile; groups are one or two
// steps. The ring of tiles is in code4_gemm/code4_tiles_amx.h.
//
// Define AMX_PLANES, 1 or 2; include inside an ISA region, after store_avx512.h and code4_avx512.h.
#pragma once

typedef struct amx_weights amx_weights;
#define amx_dot(c, a, b) ck_tile_dot_int8(c, a, b)
#include "support/gemm_amx.h"
#include "support/gemm_groups_amx.h"

CK_INLINE __m512 amx_c_to_f32(const char *c) {
    const __m512i first = _mm512_load_si512(c);
    if (AMX_PLANES == 1) return _mm512_cvtepi32_ps(first);
    return _mm512_cvtepi32_ps(_mm512_add_epi32(_mm512_slli_epi32(first, 8), _mm512_load_si512(c + 64)));
}

typedef __m512i code4_tables;  // integers
enum { CODE4_TILE_K = 64 };
#include "code4_gemm/code4_tiles_amx.h"

CK_INLINE code4_tables tables_of(const ck_code4_weights *w) {
    _Alignas(64) int8_t integers[64];
    for (unsigned i = 0; i < 64; i++) integers[i] = w->tables->integers[code4_table_of(w->scale_type, i / 16)][i % 16];
    return _mm512_load_si512(integers);
}

CK_INLINE __m512i four_inputs(const amx_weights *weights, __m512i codes, __m512i selector) {
    const __m512i nibbles = _mm512_set1_epi8(0x0F);
    return _mm512_permutexvar_epi8(_mm512_ternarylogic_epi32(codes, nibbles, selector, CODE4_MERGE), weights->tables);
}

CK_INLINE void code4_tile(const amx_weights *weights, const uint8_t *codes, const uint8_t *scales, size_t k, char *tile) {
    const __m512i selector = code4_group_of(&weights->scale, code4_scales_at(weights, scales, k)).selector;
    for (size_t line = 0; line < CODE4_TILE_BYTES; line += CODE4_LINE_BYTES, tile += 128) {
        const __m512i low = _mm512_loadu_si512(codes + line), high = _mm512_srli_epi16(low, 4);
        _mm512_store_si512(tile, four_inputs(weights, low, selector));
        _mm512_store_si512(tile + 64, four_inputs(weights, high, selector));
    }
}

// c holds sums of groups.
CK_INLINE void amx_finish(const ck_gemm_call *call, const amx_weights *weights, size_t m, size_t panel, const char *c) {
    const float scale = weights->w->tensor_scale * call->x_scale[m];
    ck_finish_scaled_avx512(call, m, panel, _mm512_load_ps(c), weights->scale.unit, scale);
}

// The call as the loops see it.
CK_INLINE ck_gemm_call planes_of(const ck_gemm_call *call) {
    ck_gemm_call planes = *call;
    planes.m *= AMX_PLANES;
    return planes;
}

CK_INLINE size_t scratch_bytes(const ck_gemm_call *call) {
    const ck_gemm_call planes = planes_of(call);
    return amx_groups_scratch_bytes(&planes);
}

CK_INLINE void multiply(const ck_gemm_call *call, const ck_code4_weights *w, size_t panel_begin, size_t panel_end,
                        void *scratch) {
    const ck_gemm_call planes = planes_of(call);
    amx_weights weights;
    code4_open(&weights, call, w);
    weights.tables = tables_of(w);
    amx_run_groups(&planes, &weights, panel_begin, panel_end, weights.steps, scratch);
}
