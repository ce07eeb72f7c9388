// The loops over panels and rows of x that the bf16 kernels of every vector width share. Include inside an ISA region, after a
// dot_bf16_*.h and with CK_FOR_DOT_ROWS(rows, CALL) naming the CK_FOR_ROWS_* of its CK_DOT_ROWS.
#pragma once

// Every row of x against one dense panel, which stays in the L2 cache from the second group of rows on.
static void ck_dot_bf16_all_rows(const ck_gemm_call *call, const uint16_t *values, size_t panel) {
    for (size_t m = 0; m < call->m; m += CK_DOT_ROWS) {
        const size_t rows = call->m - m < CK_DOT_ROWS ? call->m - m : CK_DOT_ROWS;
#define CK_CALL(R) ck_dot_bf16_panel(call, values, m, panel, R)
        CK_FOR_DOT_ROWS(rows, CK_CALL)
#undef CK_CALL
    }
}
