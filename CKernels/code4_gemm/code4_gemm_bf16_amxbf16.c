// code4_gemm of bf16 rows of x, AMX BF16. A tile is half a step. Groups of 16 have their scales folded into the weights, which
// is exact, and C runs over all of k in support/gemm_amx.h; wider groups are scaled behind the tile unit, in
// support/gemm_groups_amx.h. The ring of tiles is in code4_gemm/code4_tiles_amx.h.
#include "code4_gemm/code4_layout.h"
#include "support/isa.h"

#if CK_X86
#include "support/prefetch.h"

CK_ISA_BEGIN(amxbf16)
#include "support/store_avx512.h"
#include "code4_gemm/code4_avx512.h"

typedef struct amx_weights amx_weights;
#define amx_dot(c, a, b) ck_tile_dot_bf16(c, a, b)
#include "support/gemm_amx.h"
enum { AMX_PLANES = 1 };
#include "support/gemm_groups_amx.h"
CK_INLINE __m512 amx_c_to_f32(const char *c) { return _mm512_load_ps(c); }

typedef code4_values code4_tables;
enum { CODE4_TILE_K = 32 };
#include "code4_gemm/code4_tiles_amx.h"

// Products of at most 4 by 4 significant bits fit the 8 of bf16: the lower half of each is 0.
CK_INLINE __m512i times_scale(__m512i pair, __m512 scale) {
    const __m512i second_half = _mm512_set1_epi32((int32_t)0xFFFF0000);
    const __m512 first = _mm512_mul_ps(_mm512_castsi512_ps(_mm512_slli_epi32(pair, 16)), scale);
    const __m512 second = _mm512_mul_ps(_mm512_castsi512_ps(_mm512_and_si512(pair, second_half)), scale);
    return _mm512_or_si512(_mm512_srli_epi32(_mm512_castps_si512(first), 16), _mm512_castps_si512(second));
}

// `lines` lines of codes of one group.
CK_INLINE void fill_lines(const amx_weights *weights, const uint8_t *codes, code4_group group, int lines, int fold, char *tile) {
    CK_UNROLL
    for (int line = 0; line < lines; line++, codes += CODE4_LINE_BYTES, tile += 256) {
        __m512i pairs[4];
        code4_line_pairs(&weights->tables, codes, group.selector, pairs);
        CK_UNROLL
        for (int i = 0; i < 4; i++) _mm512_store_si512(tile + 64 * i, fold ? times_scale(pairs[i], group.scale) : pairs[i]);
    }
}

CK_INLINE void code4_tile(const amx_weights *weights, const uint8_t *codes, const uint8_t *scales, size_t k, char *tile) {
    const uint8_t *const at = code4_scales_at(weights, scales, k);
    const code4_group group = code4_group_of(&weights->scale, at);
    if (weights->w->group > 16) {
        fill_lines(weights, codes, group, 4, 0, tile);
        return;
    }
    fill_lines(weights, codes, group, 2, 1, tile);
    const code4_group second = code4_group_of(&weights->scale, at + weights->scale.bytes);
    fill_lines(weights, codes + 2 * CODE4_LINE_BYTES, second, 2, 1, tile + 512);
}

// c holds C with groups of 16, else sums of groups.
CK_INLINE void amx_finish(const ck_gemm_call *call, const amx_weights *weights, size_t m, size_t panel, const char *c) {
    ck_finish_scaled_avx512(call, m, panel, _mm512_load_ps(c), weights->scale.unit, weights->w->tensor_scale);
}

size_t ck_code4_gemm_bf16_amxbf16_scratch(const ck_gemm_call *call, const ck_code4_weights *w) {
    return w->group == 16 ? amx_scratch_bytes(call) : amx_groups_scratch_bytes(call);
}

void ck_code4_gemm_bf16_amxbf16(const ck_gemm_call *call, const ck_code4_weights *w, size_t panel_begin, size_t panel_end,
                                void *scratch) {
    amx_weights weights;
    code4_open(&weights, call, w);
    weights.tables = code4_values_of(w);
    if (w->group == 16) amx_run(call, &weights, panel_begin, panel_end, weights.steps, scratch);
    else amx_run_groups(call, &weights, panel_begin, panel_end, weights.steps, scratch);
}

CK_ISA_END
#endif
