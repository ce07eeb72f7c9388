// The nearest level, sixteen elements at a time: a level is the lowest one plus the rise at every midpoint that x has reached.
// Rises and their sums are exact, because levels are short multiples of one power of two.
#pragma once
#include <string.h>
#include "cc_quantize.h"

typedef float cc_f4 __attribute__((vector_size(16)));
typedef int32_t cc_i4 __attribute__((vector_size(16)));

enum { CC_CHUNK = 16, CC_CHUNK_VECTORS = 4, CC_MIDPOINTS = 15 };

static inline cc_f4 cc_splat(float value) { return (cc_f4){value, value, value, value}; }

static inline cc_f4 cc_load(const float *source) {
    cc_f4 v;
    memcpy(&v, source, sizeof v);
    return v;
}

static inline void cc_store(float *target, cc_f4 v) { memcpy(target, &v, sizeof v); }

static inline cc_f4 cc_where(cc_i4 mask, cc_f4 v) { return (cc_f4)(mask & (cc_i4)v); }

static inline float cc_sum(cc_f4 v) { return (v[0] + v[1]) + (v[2] + v[3]); }

// Midpoints of a candidate at a step. A product of a midpoint and a step that is not 0 is not 0, so that a nudge cannot turn it
// into a NaN: steps are at least 2^-65.
static inline void cc_thresholds(const cc_candidate *candidate, float step, float *thresholds) {
    for (size_t i = 0; i < 16; i++) {
        const float product = candidate->midpoints[i] * step;
        uint32_t bits;
        memcpy(&bits, &product, sizeof bits);
        bits += (uint32_t)candidate->nudges[i];
        memcpy(&thresholds[i], &bits, sizeof bits);
    }
}
