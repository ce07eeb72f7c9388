// What the vector kernels of bitmap bf16 weights share beside support/dot_bf16_panels.h: up to CK_DOT_ROWS rows of x meet
// expanded weights in registers, for more a panel is expanded once into scratch and multiplied from there. Include inside an ISA
// region after defining fused_panel(call, w, panel, rows) and expand_panel(w, panel, pairs, dense).
#pragma once

CK_INLINE size_t bitmap_bf16_scratch(const ck_gemm_call *call) {
    return call->m <= CK_DOT_ROWS ? 0 : CK_PANEL_ROWS * ck_k_padded(call->k, CK_BF16) * sizeof(uint16_t);
}

CK_INLINE void bitmap_bf16_panels(const ck_gemm_call *call, const ck_bitmap_weights *w, size_t panel_begin, size_t panel_end,
                                  uint16_t *scratch) {
    for (size_t panel = panel_begin; panel < panel_end; panel++) {
        if (call->m > CK_DOT_ROWS) {
            expand_panel(w, panel, ck_k_padded(call->k, CK_BF16) / 2, scratch);
            ck_dot_bf16_all_rows(call, scratch, panel);
            continue;
        }
#define CK_CALL(R) fused_panel(call, w, panel, R)
        CK_FOR_DOT_ROWS(call->m, CK_CALL)
#undef CK_CALL
    }
}
