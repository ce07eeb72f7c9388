// What the pool asks of the system and the CPU: to pause, to sleep on a word, to pin a thread, to copy a rounding mode.
#pragma once
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

#if defined(__x86_64__)
#include <xmmintrin.h>
#endif

#if defined(__linux__) && !defined(CK_POOL_NO_FUTEX)
#define CK_POOL_FUTEX 1
#include <limits.h>
#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>
#endif

#pragma clang assume_nonnull begin

static inline void ck_relax(void) {
#if defined(__x86_64__)
    _mm_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

static inline uint64_t ck_now_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

// Sleeping on a 32-bit word. A futex needs nothing but the word; elsewhere a condition variable stands beside it.
#if CK_POOL_FUTEX

typedef struct {
    char nothing[0];
} ck_parking;

#define CK_PARKING_INIT                                                                                                          \
    {                                                                                                                            \
        {}                                                                                                                       \
    }

static inline void ck_parking_destroy(ck_parking *parking) { (void)parking; }

// Sleeps while the word is `expected`; may return early.
static inline void ck_park(ck_parking *parking, _Atomic uint32_t *word, uint32_t expected) {
    (void)parking;
    syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, expected, NULL, NULL, 0);
}

// Called after the word has changed.
static inline void ck_unpark_all(ck_parking *parking, _Atomic uint32_t *word) {
    (void)parking;
    syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, INT_MAX, NULL, NULL, 0);
}

#else

typedef struct {
    pthread_mutex_t lock;
    pthread_cond_t changed;
} ck_parking;

#define CK_PARKING_INIT {PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER}

static inline void ck_parking_destroy(ck_parking *parking) {
    pthread_cond_destroy(&parking->changed);
    pthread_mutex_destroy(&parking->lock);
}

static inline void ck_park(ck_parking *parking, _Atomic uint32_t *word, uint32_t expected) {
    pthread_mutex_lock(&parking->lock);
    if (atomic_load_explicit(word, memory_order_relaxed) == expected) pthread_cond_wait(&parking->changed, &parking->lock);
    pthread_mutex_unlock(&parking->lock);
}

// The lock closes the gap between a sleeper's last look at the word and its sleep.
static inline void ck_unpark_all(ck_parking *parking, _Atomic uint32_t *word) {
    (void)word;
    pthread_mutex_lock(&parking->lock);
    pthread_cond_broadcast(&parking->changed);
    pthread_mutex_unlock(&parking->lock);
}

#endif

// Pinning is a wish: a CPU that is offline, forbidden or negative leaves the thread where it is.
static inline void ck_pin_self(int32_t cpu) {
#if defined(__linux__)
    cpu_set_t sets[8];
    const size_t bytes = sizeof sets;
    if (cpu < 0 || (size_t)cpu >= 8 * bytes) return;
    CPU_ZERO_S(bytes, sets);
    CPU_SET_S((size_t)cpu, bytes, sets);
    sched_setaffinity(0, bytes, sets);
#else
    (void)cpu;
#endif
}

static inline void ck_name_self(void) {
#if defined(__linux__)
    pthread_setname_np(pthread_self(), "tessera");
#endif
}

// The calling thread's rounding direction, exception masks and flushing of denormals, without the sticky exception flags.
static inline uint64_t ck_float_mode(void) {
#if defined(__x86_64__)
    return _mm_getcsr() & ~(unsigned)_MM_EXCEPT_MASK;
#elif defined(__aarch64__)
    uint64_t mode;
    __asm__ volatile("mrs %0, fpcr" : "=r"(mode));
    return mode;
#else
    return 0;
#endif
}

static inline void ck_adopt_float_mode(uint64_t mode) {
    if (ck_float_mode() == mode) return;
#if defined(__x86_64__)
    _mm_setcsr((unsigned)mode);
#elif defined(__aarch64__)
    __asm__ volatile("msr fpcr, %0" : : "r"(mode));
#endif
}

#pragma clang assume_nonnull end
