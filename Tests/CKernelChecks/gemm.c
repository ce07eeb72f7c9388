// Linear kernels, called so that their faults are survived.
#include "ck_checks.h"
#include "trap.h"

typedef struct {
    const ck_dense_gemm_variant *dense;
    const ck_bitmap_gemm_variant *bitmap;
    const ck_code4_gemm_variant *code4;
    const ck_gemm_call *call;
    const void *weights;
    size_t panel_begin, panel_end;
    void *scratch;
} kernel_call;

static void run(const void *context) {
    const kernel_call *kernel = context;
    if (kernel->dense) kernel->dense->run(kernel->call, kernel->weights, kernel->panel_begin, kernel->panel_end, kernel->scratch);
    else if (kernel->code4)
        kernel->code4->run(kernel->call, kernel->weights, kernel->panel_begin, kernel->panel_end, kernel->scratch);
    else kernel->bitmap->run(kernel->call, kernel->weights, kernel->panel_begin, kernel->panel_end, kernel->scratch);
}

const char *ck_check_run_dense(const ck_dense_gemm_variant *variant, const ck_gemm_call *call, const ck_dense_weights *w,
                               size_t panel_begin, size_t panel_end, void *scratch, uintptr_t *address) {
    const kernel_call kernel = {
        .dense = variant, .call = call, .weights = w, .panel_begin = panel_begin, .panel_end = panel_end, .scratch = scratch};
    return ck_check_trapped(run, &kernel, address);
}

const char *ck_check_run_bitmap(const ck_bitmap_gemm_variant *variant, const ck_gemm_call *call, const ck_bitmap_weights *w,
                                size_t panel_begin, size_t panel_end, void *scratch, uintptr_t *address) {
    const kernel_call kernel = {
        .bitmap = variant, .call = call, .weights = w, .panel_begin = panel_begin, .panel_end = panel_end, .scratch = scratch};
    return ck_check_trapped(run, &kernel, address);
}

const char *ck_check_run_code4(const ck_code4_gemm_variant *variant, const ck_gemm_call *call, const ck_code4_weights *w,
                               size_t panel_begin, size_t panel_end, void *scratch, uintptr_t *address) {
    const kernel_call kernel = {
        .code4 = variant, .call = call, .weights = w, .panel_begin = panel_begin, .panel_end = panel_end, .scratch = scratch};
    return ck_check_trapped(run, &kernel, address);
}
