// Panels against rows of x: what the AVX-512 kernels of 4-bit codes have in common. Include inside an ISA region, after what it
// takes from a kernel:
//
//   RUN_STEPS      the steps of a wide group that are summed at once
//   decoder        how codes are looked up; its `scales` are code4_scales
//   cursor         what a pass reads in the order of the walk; its `lines` are the panel's, expanded before, or NULL
//   add_group      a group's lines into the accumulators of its rows, of each panel
//   finish_scale   what row m of x is multiplied by in the end
#pragma once

// `panels` panels against `rows` rows of x from m0 on. `bitmap` says that codes are expanded first, a run at a time.
CK_INLINE void panel_rows(const ck_gemm_call *call, const ck_code4_weights *w, const decoder *decoder, size_t panel, size_t m0,
                          cursor at, int rows, int panels, int bitmap, code4_case which) {
    const code4_scales *const s = &decoder->scales;
    const size_t groups = which == NARROW ? CODE4_STEP_K / 16 : code4_run_groups(w);
    const uint8_t *panel_scales[CODE4_PANELS];
    code4_lines panel_lines[CODE4_PANELS];
    __m512 acc[CODE4_PANELS][CODE4_ROWS];
    CK_UNROLL
    for (int p = 0; p < panels; p++) {
        code4_open_lines(&panel_lines[p], w, panel + (size_t)p, at.lines, bitmap);
        panel_scales[p] = code4_panel_scales(w, panel + (size_t)p);
        CK_UNROLL
        for (int m = 0; m < rows; m++) acc[p][m] = _mm512_setzero_ps();
    }
    for (code4_walk walk = code4_walk_of(call, w); code4_next(&walk, w, which == NARROW ? 1 : RUN_STEPS);) {
        const size_t lines = code4_group_lines(&walk, groups);
        const uint8_t *codes[CODE4_PANELS], *scales[CODE4_PANELS];
        CK_UNROLL
        for (int p = 0; p < panels; p++) {
            codes[p] = code4_run_lines(&panel_lines[p], &walk, bitmap);
            scales[p] = code4_run_scales(&walk, s, panel_scales[p]);
        }
        for (size_t g = 0; g < groups; g++) {
            code4_group group[CODE4_PANELS];
            CK_UNROLL
            for (int p = 0; p < panels; p++) group[p] = code4_group_of(s, scales[p]);
            add_group(decoder, &at, codes, lines, group, acc, rows, panels, which);
            CK_UNROLL
            for (int p = 0; p < panels; p++) {
                codes[p] += lines * CODE4_LINE_BYTES;
                scales[p] += s->bytes;
            }
        }
    }
    CK_UNROLL
    for (int p = 0; p < panels; p++) {
        CK_UNROLL
        for (int m = 0; m < rows; m++)
            ck_finish_scaled_avx512(call, m0 + (size_t)m, panel + (size_t)p, acc[p][m], s->unit,
                                    finish_scale(call, w, m0 + (size_t)m));
    }
}

// Scratch for the lines of a panel that several passes read.
CK_INLINE size_t lines_bytes(const ck_gemm_call *call, const ck_code4_weights *w) {
    return call->m > CODE4_ROWS ? code4_room_bytes(w) : 0;
}
