// A signal: a counter that one thread raises and others await, first spinning, then asleep.
//
// The word holds two flags below the generation, so that one exchange publishes a generation and learns whether
// anybody must be woken:
//
//     31                                  2     1        0
//     [            generation             ] [resting] [asleep]
//
// Generations advance by CK_GENERATION and wrap. The pool never raises a signal twice before every thread that awaits
// it has seen the first, so "differs from the last one seen" cannot be fooled by the wrap.
#pragma once
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include "pool/platform.h"

#pragma clang assume_nonnull begin

enum {
    CK_ASLEEP = 1,   // a thread sleeps on this word, or is about to
    CK_RESTING = 2,  // waiting threads should sleep now
    CK_GENERATION = 4,
};

typedef struct {
    _Atomic uint32_t word;
    ck_parking parking;
} ck_signal;

#define CK_SIGNAL_INIT {0, CK_PARKING_INIT}

static inline uint32_t ck_signal_generation(uint32_t word) { return word & ~(uint32_t)(CK_ASLEEP | CK_RESTING); }

// Publishes everything written before it together with the new generation.
static inline void ck_signal_raise(ck_signal *signal, uint32_t generation) {
    const uint32_t before = atomic_exchange_explicit(&signal->word, generation, memory_order_acq_rel);
    if (before & CK_ASLEEP) ck_unpark_all(&signal->parking, &signal->word);
}

static inline void ck_signal_rest(ck_signal *signal) {
    atomic_fetch_or_explicit(&signal->word, CK_RESTING, memory_order_relaxed);
}

// Spins until the generation is no longer `seen`; gives up, returning `seen`, when told to rest or after spin_ns.
static inline uint32_t ck_signal_spin(ck_signal *signal, uint32_t seen, uint64_t spin_ns) {
    enum { ROUNDS_PER_CLOCK = 64 };  // 2 to 4 us: reading the clock each round would delay the answer by as much as a job
    uint64_t deadline = 0;
    for (uint32_t round = 1;; round++) {
        const uint32_t word = atomic_load_explicit(&signal->word, memory_order_acquire);
        if (ck_signal_generation(word) != seen) return ck_signal_generation(word);
        if ((word & CK_RESTING) || spin_ns == 0) return seen;
        ck_relax();
        if (round % ROUNDS_PER_CLOCK) continue;
        const uint64_t now = ck_now_ns();
        if (deadline == 0) deadline = now + spin_ns;
        if (now >= deadline) return seen;
    }
}

// Sleeps until the generation is no longer `seen`.
static inline uint32_t ck_signal_sleep(ck_signal *signal, uint32_t seen) {
    uint32_t word = atomic_load_explicit(&signal->word, memory_order_acquire);
    while (ck_signal_generation(word) == seen) {
        const bool marked =
            (word & CK_ASLEEP) || atomic_compare_exchange_weak_explicit(&signal->word, &word, word | CK_ASLEEP,
                                                                        memory_order_relaxed, memory_order_relaxed);
        if (marked) ck_park(&signal->parking, &signal->word, word | CK_ASLEEP);
        word = atomic_load_explicit(&signal->word, memory_order_acquire);
    }
    return ck_signal_generation(word);
}

// Returns the first generation found that is not `seen`; everything published with it is then visible.
static inline uint32_t ck_signal_await(ck_signal *signal, uint32_t seen, uint64_t spin_ns) {
    const uint32_t generation = ck_signal_spin(signal, seen, spin_ns);
    return generation != seen ? generation : ck_signal_sleep(signal, seen);
}

#pragma clang assume_nonnull end
