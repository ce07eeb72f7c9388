// Calls that survive the kernel's faults: a handler jumps back out of the kernel, on the thread that ran it.
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stddef.h>
#include "ck_checks.h"
#include "trap.h"

#if defined(__x86_64__)
#include <cpuid.h>
#include <immintrin.h>
// Rounding, masks and flushing; the sticky flags below them may change.
static unsigned control(void) { return _mm_getcsr() & ~0x3Fu; }

// Whether XGETBV tells which state is in use.
static int tells_use(void) {
    unsigned a, b, c, d;
    if (!__get_cpuid(1, &a, &b, &c, &d) || !(c & bit_OSXSAVE)) return 0;
    return __get_cpuid_count(0xD, 1, &a, &b, &c, &d) && a & 1u << 2;
}

static int use_is_told;  // once installed

// Whether this thread's tiles hold anything that a switch of threads would have to save.
static int tiles_in_use(void) {
    if (!use_is_told) return 0;
    uint32_t low, high;
    __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(1));
    return low >> 18 & 1;
}

__attribute__((target("amx-tile"))) void ck_check_use_tiles(void) {
    _Alignas(64) const uint8_t one_row[64] = {[0] = 1, [16] = 64, [48] = 1};  // palette, bytes of a row, rows of tile 0
    _tile_loadconfig(one_row);
    _tile_loadd(0, one_row, 64);
}

__attribute__((target("amx-tile"))) static void release_tiles(void) { _tile_release(); }
#else
static unsigned control(void) { return 0; }
static int tells_use(void) { return 0; }
static int use_is_told;
static int tiles_in_use(void) { return use_is_told; }
static void release_tiles(void) {}
void ck_check_use_tiles(void) {}
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
    use_is_told = tells_use();
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
    const int tiles_before = tiles_in_use();
    body(context);
    way_out = NULL;
    if (control() != before) return "the floating-point control register changed";
    if (tiles_in_use() <= tiles_before) return NULL;
    release_tiles();
    return "the tiles were not released";
}
