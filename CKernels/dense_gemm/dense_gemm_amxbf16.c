// dense_gemm, AMX BF16: packed panels are B tiles already. The loops are in support/gemm_amx.h.
#include "ck_dense_gemm.h"
#include "support/isa.h"

#if CK_X86
#include "support/prefetch.h"

CK_ISA_BEGIN(amxbf16)
#include "support/store_avx512.h"

typedef struct {
    const char *values;
    size_t panel_bytes;
    const char *next[4];
} amx_weights;

#define amx_dot(c, a, b) ck_tile_dot_bf16(c, a, b)
#include "support/gemm_amx.h"

CK_INLINE void amx_open(amx_weights *weights, size_t panel, int panels) {
    for (int slot = 0; slot < panels; slot++)
        weights->next[slot] = weights->values + (panel + (size_t)slot) * weights->panel_bytes;
}

CK_INLINE const char *amx_next(amx_weights *weights, int slot, int panels) {
    (void)panels;
    const char *tile = weights->next[slot];
    for (size_t line = 0; line < AMX_TILE_BYTES; line += 64) _mm_prefetch(tile + CK_PREFETCH_BYTES + line, _MM_HINT_T0);
    weights->next[slot] += AMX_TILE_BYTES;
    return tile;
}

// Copied, though tiles could be loaded where they lie: panels are a power of two apart for many k and would share a few sets of
// the L2 cache. The copy is read from there once for every 32 rows of x.
CK_INLINE void amx_block(amx_weights *weights, const amx_weight_block *block, char *room, amx_ahead *ahead) {
    const size_t bytes = block->steps * AMX_TILE_BYTES;
    const char *source = weights->values + block->first_panel * weights->panel_bytes + block->first_step * AMX_TILE_BYTES;
    amx_ahead_start(ahead, source + bytes, weights->panel_bytes, block->panels, bytes);
    for (size_t p = 0; p < block->panels; p++, source += weights->panel_bytes, room += AMX_BLOCK_STEPS * AMX_TILE_BYTES)
        for (size_t line = 0; line < bytes; line += 64) {
            _mm_prefetch(source + line + CK_PREFETCH_BYTES, _MM_HINT_T0);
            _mm512_store_si512(room + line, _mm512_loadu_si512(source + line));
        }
}

CK_INLINE void amx_finish(const ck_gemm_call *call, const amx_weights *weights, size_t m, size_t panel, const char *c) {
    (void)weights;
    ck_finish_bf16_avx512(call, m, panel, _mm512_load_ps(c));
}

size_t ck_dense_gemm_amxbf16_scratch(const ck_gemm_call *call) { return amx_scratch_bytes(call); }

void ck_dense_gemm_amxbf16(const ck_gemm_call *call, const ck_dense_weights *w, size_t panel_begin, size_t panel_end,
                           void *scratch) {
    const size_t k_padded = ck_k_padded(call->k, CK_BF16);
    amx_weights weights = {.values = (const char *)w->values, .panel_bytes = CK_PANEL_ROWS * k_padded * sizeof(uint16_t)};
    amx_run(call, &weights, panel_begin, panel_end, k_padded / 32, scratch);
}

CK_ISA_END
#endif
