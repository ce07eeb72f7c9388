// Calls that survive the kernel's faults: a handler jumps back out of the kernel, on the thread that ran it.
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stddef.h>
#include "trap.h"

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

const char *ck_check_trapped(ck_check_body *body, const void *context, uintptr_t *address) {
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
    body(context);
    way_out = NULL;
    return control() == before ? NULL : "the floating-point control register changed";
}
