// The search for the scale of one group.
#include <float.h>
#include "levels.h"
#include "scale.h"

#pragma STDC FP_CONTRACT OFF

void cc_candidate_make(const float *values, uint32_t selector, float divisor, uint32_t follows_sign, cc_tie_rule ties,
                       cc_candidate *candidate) {
    cc_candidate c = {.selector = selector, .divisor = divisor, .follows_sign = follows_sign};
    size_t count = 0;
    for (uint8_t code = 0; code < 16; code++) {
        size_t at = 0;
        while (at < count && c.levels[at] < values[code]) at++;
        if (at < count && c.levels[at] == values[code]) continue;
        memmove(&c.levels[at + 1], &c.levels[at], (count - at) * sizeof c.levels[0]);
        memmove(&c.codes[at + 1], &c.codes[at], count - at);
        c.levels[at] = values[code];
        c.codes[at] = code;
        count++;
    }
    for (size_t i = count; i < 16; i++) {
        c.levels[i] = c.levels[count - 1];
        c.codes[i] = c.codes[count - 1];
    }
    float nearest = INFINITY;
    for (size_t i = 0; i < 16; i++) {
        const float middle = (c.levels[i] + c.levels[i < 15 ? i + 1 : i]) / 2;
        c.midpoints[i] = i + 1 < count ? middle : INFINITY;
        // One ulp up, where a tie belongs to the level below: the bits of a negative number fall on the way up.
        if (i + 1 < count) c.nudges[i] = middle < 0 ? -1 : ties == CC_TIES_DOWN;
        if (fabsf(c.levels[i]) < nearest) {
            nearest = fabsf(c.levels[i]);
            c.zero_code = c.codes[i];
        }
    }
    *candidate = c;
}

// Sums over a group, v being the level of x: w (v step - x)^2, w x v and w v^2.
typedef struct {
    float error, xv, vv;
} fit;

// `n` is a multiple of CC_CHUNK.
static fit evaluate(const cc_candidate *c, const float *x, const float *weights, size_t n, float step, float sign) {
    float scalars[16];
    cc_thresholds(c, step, scalars);
    cc_f4 thresholds[CC_MIDPOINTS], rises[CC_MIDPOINTS];
    for (size_t i = 0; i < CC_MIDPOINTS; i++) {
        thresholds[i] = cc_splat(scalars[i]);
        rises[i] = cc_splat(c->levels[i + 1] - c->levels[i]);
    }
    cc_f4 error = cc_splat(0), xv = error, vv = error;
    for (size_t begin = 0; begin < n; begin += CC_CHUNK) {
        cc_f4 v[CC_CHUNK_VECTORS], y[CC_CHUNK_VECTORS];
        for (size_t j = 0; j < CC_CHUNK_VECTORS; j++) {
            y[j] = cc_load(x + begin + 4 * j) * sign;
            v[j] = cc_splat(c->levels[0]);
        }
        for (size_t i = 0; i < CC_MIDPOINTS; i++)
            for (size_t j = 0; j < CC_CHUNK_VECTORS; j++) v[j] += cc_where(y[j] >= thresholds[i], rises[i]);
        for (size_t j = 0; j < CC_CHUNK_VECTORS; j++) {
            const cc_f4 w = cc_load(weights + begin + 4 * j), difference = v[j] * step - y[j], wv = w * v[j];
            error += w * difference * difference;
            xv += wv * y[j];
            vv += wv * v[j];
        }
    }
    return (fit){cc_sum(error), cc_sum(xv), cc_sum(vv)};
}

// A group on its way: padded to whole chunks, with weights of 0 behind its end.
typedef struct {
    float x[CC_MOST_GROUP], weights[CC_MOST_GROUP];
    size_t padded;
    cc_choice best;
    int found;
} group;

// Tries one scale, at least the smallest stored one. Returns the sums, or an error of infinity where no stored scale is as large.
static fit try_scale(const cc_search *search, size_t candidate, float scale, float sign, int down, group *g) {
    const cc_candidate *c = &search->candidates[candidate];
    uint32_t bits = 0;
    if (!search->exact_scales) {
        bits = cc_scale_round(scale, search->scale_type, down);
        if (bits == UINT32_MAX) return (fit){INFINITY, 0, 0};
        scale = cc_scale_value(bits, search->scale_type);
        bits = cc_with_selector(bits, c->selector, sign < 0, search->scale_type);
    }
    const float step = scale * search->tensor_scale;
    const fit sums = evaluate(c, g->x, g->weights, g->padded, step, sign);
    if (!g->found || sums.error < g->best.error) g->best = (cc_choice){candidate, step, sign, bits, sums.error};
    g->found = 1;
    return sums;
}

static float signed_largest(const float *x, size_t n) {
    float largest = 0;
    for (size_t i = 0; i < n; i++)
        if (fabsf(x[i]) > fabsf(largest)) largest = x[i];
    return largest;
}

cc_result cc_choose(const cc_search *search, const float *x, const float *weights, size_t n, cc_choice *choice) {
    *choice = (cc_choice){0, 0, 1, 0, 0};
    const float largest = signed_largest(x, n);
    if (largest == 0) return CC_OK;

    group g = {.padded = (n + CC_CHUNK - 1) / CC_CHUNK * CC_CHUNK};
    memcpy(g.x, x, n * sizeof *x);
    memcpy(g.weights, weights, n * sizeof *weights);
    for (size_t candidate = 0; candidate < search->candidate_count; candidate++) {
        const cc_candidate *c = &search->candidates[candidate];
        const float sign = c->follows_sign && largest > 0 ? -1 : 1;
        const float whole = fabsf(largest) / c->divisor / search->tensor_scale;
        for (size_t clip = 0; clip < search->clip_count; clip++) {
            fit sums = try_scale(search, candidate, whole * search->clips[clip], sign, 1, &g);
            for (size_t refit = 0; refit < search->refits && sums.xv > 0 && sums.vv > 0; refit++)
                sums = try_scale(search, candidate, sums.xv / sums.vv / search->tensor_scale, sign, 0, &g);
        }
    }
    if (!g.found) return CC_SCALE_OVERFLOW;
    *choice = g.best;
    return CC_OK;
}

void cc_assign(const cc_search *search, const cc_choice *choice, const float *x, size_t n, uint8_t *codes) {
    const cc_candidate *c = &search->candidates[choice->candidate];
    if (choice->step == 0) {
        memset(codes, c->zero_code, n);
        return;
    }
    float thresholds[16];
    cc_thresholds(c, choice->step, thresholds);
    for (size_t at = 0; at < n; at++) {
        const float y = x[at] * choice->sign;
        int32_t level = 0;
        for (size_t i = 0; i < 16; i++) level += y >= thresholds[i];
        codes[at] = c->codes[level];
    }
}

cc_result cc_quantize_row(const cc_search *search, const float *x, float factor, const float *weights, size_t inputs,
                          uint8_t *codes, uint16_t *scales, double *error, size_t *bad_group) {
    *error = 0;
    for (size_t begin = 0; begin < inputs; begin += search->group) {
        const size_t n = inputs - begin < search->group ? inputs - begin : search->group;
        float scaled[CC_MOST_GROUP];
        cc_choice choice;
        for (size_t i = 0; i < n; i++) scaled[i] = x[begin + i] * factor;
        const cc_result result = cc_choose(search, scaled, weights + begin, n, &choice);
        if (result != CC_OK) {
            *bad_group = begin / search->group;
            return result;
        }
        cc_assign(search, &choice, scaled, n, codes + begin);
        scales[begin / search->group] = (uint16_t)choice.bits;
        *error += choice.error;
    }
    return CC_OK;
}

float cc_largest(const float *x, size_t n, size_t *bad) {
    float largest = 0;
    *bad = n;
    for (size_t i = 0; i < n; i++) {
        const float magnitude = fabsf(x[i]);
        if (!(magnitude <= FLT_MAX)) {
            *bad = i;
            return magnitude;
        }
        if (magnitude > largest) largest = magnitude;
    }
    return largest;
}
