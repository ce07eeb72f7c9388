// Calls that survive the kernel's faults: a handler jumps back out of the kernel, on the thread that ran it.
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stddef.h>
#include "ck_checks.h"

#if defined(__x86_64__)
#include <xmmintrin.h>
// Rounding, masks and flushing; the sticky flags below them may change.
static unsigned control(void) { return _mm_getcsr() & ~0x3Fu; }
#else
static unsigned control(void) { return 0; }
#endif

static const int signals[] = {SIGSEGV, SIGBUS, SIGILL, SIGFPE};
enum { SIGNALS = sizeof signals / sizeof *signals };
static struct sigaction previous[SIGNALS];
static pthread_once_t installed = PTHREAD_ONCE_INIT;

static _Thread_local sigjmp_buf *volatile way_out;
static _Thread_local uintptr_t volatile fault_address;

// A fault outside a checked call is not ours: the handler from before gets it when the instruction runs again.
static void handle(int signal, siginfo_t *info, void *context) {
    (void)context;
    if (way_out) {
        fault_address = (uintptr_t)info->si_addr;
        siglongjmp(*way_out, signal);
    }
    for (size_t i = 0; i < SIGNALS; i++)
        if (signals[i] == signal) sigaction(signal, &previous[i], NULL);
}

static void install(void) {
    struct sigaction action = {.sa_sigaction = handle, .sa_flags = SA_SIGINFO | SA_NODEFER};
    sigemptyset(&action.sa_mask);
    for (size_t i = 0; i < SIGNALS; i++) sigaction(signals[i], &action, &previous[i]);
}

static const char *signal_name(int signal) {
    switch (signal) {
    case SIGSEGV: return "SIGSEGV";
    case SIGBUS: return "SIGBUS";
    case SIGILL: return "SIGILL";
    default: return "SIGFPE";
    }
}

typedef struct {
    const ck_latent_keys_variant *variant;
    const ck_latent_group *group;
    const ck_latent_angles *angles;
    const ck_kv_span *latents;
    const ck_attention_queries *queries;
    float *scores;
    size_t stride;
    void *scratch;
} latent_call;

typedef struct {
    const ck_dense_gemm_variant *dense;
    const ck_bitmap_gemm_variant *bitmap;
    const ck_code4_gemm_variant *code4;
    const latent_call *latent;
    const ck_gemm_call *call;
    const void *weights;
    size_t panel_begin, panel_end;
    void *scratch;
} kernel_call;

static const char *run(const kernel_call *kernel, uintptr_t *address) {
    pthread_once(&installed, install);
    sigjmp_buf here;
    const int signal = sigsetjmp(here, 1);
    if (signal != 0) {
        way_out = NULL;
        *address = fault_address;
        return signal_name(signal);
    }
    way_out = &here;
    const unsigned before = control();
    const latent_call *latent = kernel->latent;
    if (latent)
        latent->variant->run(latent->group, latent->angles, latent->latents, latent->queries, latent->scores, latent->stride,
                             latent->scratch);
    else if (kernel->dense)
        kernel->dense->run(kernel->call, kernel->weights, kernel->panel_begin, kernel->panel_end, kernel->scratch);
    else if (kernel->code4)
        kernel->code4->run(kernel->call, kernel->weights, kernel->panel_begin, kernel->panel_end, kernel->scratch);
    else kernel->bitmap->run(kernel->call, kernel->weights, kernel->panel_begin, kernel->panel_end, kernel->scratch);
    way_out = NULL;
    return control() == before ? NULL : "the floating-point control register changed";
}

const char *ck_check_run_dense(const ck_dense_gemm_variant *variant, const ck_gemm_call *call, const ck_dense_weights *w,
                               size_t panel_begin, size_t panel_end, void *scratch, uintptr_t *address) {
    const kernel_call kernel = {
        .dense = variant, .call = call, .weights = w, .panel_begin = panel_begin, .panel_end = panel_end, .scratch = scratch};
    return run(&kernel, address);
}

const char *ck_check_run_bitmap(const ck_bitmap_gemm_variant *variant, const ck_gemm_call *call, const ck_bitmap_weights *w,
                                size_t panel_begin, size_t panel_end, void *scratch, uintptr_t *address) {
    const kernel_call kernel = {
        .bitmap = variant, .call = call, .weights = w, .panel_begin = panel_begin, .panel_end = panel_end, .scratch = scratch};
    return run(&kernel, address);
}

const char *ck_check_run_code4(const ck_code4_gemm_variant *variant, const ck_gemm_call *call, const ck_code4_weights *w,
                               size_t panel_begin, size_t panel_end, void *scratch, uintptr_t *address) {
    const kernel_call kernel = {
        .code4 = variant, .call = call, .weights = w, .panel_begin = panel_begin, .panel_end = panel_end, .scratch = scratch};
    return run(&kernel, address);
}

const char *ck_check_run_latent_keys(const ck_latent_keys_variant *variant, const ck_latent_group *group,
                                     const ck_latent_angles *angles, const ck_kv_span *latents,
                                     const ck_attention_queries *queries, float *scores, size_t stride, void *scratch,
                                     uintptr_t *address) {
    const latent_call call = {variant, group, angles, latents, queries, scores, stride, scratch};
    const kernel_call kernel = {.latent = &call};
    return run(&kernel, address);
}
