// code4_gemm of bf16 rows of x, AVX2, in fp32. The low and the high bytes of the table's bf16 are looked up apart and interleaved
// again, which makes 4 k of two rows of each lane's 8 bytes; a bf16 is the upper half of a float, as in support/dot_bf16_avx2.h:
//
//   half line  8 rows x 8 k, low and high nibbles        8 weight vectors: 2 parts x 4 pairs of k
//   part 0     rows 0 0 1 1 | 4 4 5 5, each with the two k of a pair in turn; part 1: rows 2 2 3 3 | 6 6 7 7
//   pair       low even k = (0 2), low odd (1 3), high even (4 6), high odd (5 7): dwords of x in the order CK_X_EVEN_ODD
//
// A part has a chain for even and one for odd k in each group; the two k of a row meet in a horizontal add at the end.
//
// One row of x is multiplied as its weights are decoded; for more a group is decoded once for all of them.
#include "ck_code4_gemm.h"
#include "support/isa.h"

#if CK_X86
#include "code4_gemm/code4_layout.h"
#include "support/prefetch.h"

CK_ISA_BEGIN(avx2)
#include "support/store_avx2.h"
#include "support/dot_bf16_avx2.h"
#include "code4_gemm/code4_avx2.h"
#include "code4_gemm/code4_expand_avx2.h"

enum {
    PARTS = 2,
    PAIRS = 4,
    ROWS = 2,  // of x at a time against a decoded group: 8 chains
};

typedef struct {
    __m256i low, high;  // bytes of bf16
} split;

typedef struct {
    code4_scales scales;
    split table, specials;  // both lanes; entry 8 of each table in the low bytes of `specials`
    int has_specials;
} decoder;

static decoder decoder_of(const ck_code4_weights *w) {
    const uint16_t (*const values)[16] = w->tables->values;
    decoder d = {.scales = code4_scales_of(w)};
    uint8_t table[2][16], specials[2][16] = {{0}};
    for (unsigned i = 0; i < 16; i++) {
        table[0][i] = (uint8_t)values[0][i];
        table[1][i] = (uint8_t)(values[0][i] >> 8);
    }
    for (unsigned i = 0; i < code4_table_count(w->scale_type); i++) {
        specials[0][i] = (uint8_t)values[i][8];
        specials[1][i] = (uint8_t)(values[i][8] >> 8);
        d.has_specials |= values[i][8] != values[0][8];
    }
    d.table = (split){code4_both_lanes(table[0]), code4_both_lanes(table[1])};
    d.specials = (split){code4_both_lanes(specials[0]), code4_both_lanes(specials[1])};
    return d;
}

// The special values of a half's rows.
CK_INLINE split specials_of(const decoder *d, const code4_group *group, int half) {
    return (split){code4_spread(_mm256_shuffle_epi8(d->specials.low, group->selector), half),
                   code4_spread(_mm256_shuffle_epi8(d->specials.high, group->selector), half)};
}

// The two pairs of k of the bytes' low nibbles.
CK_INLINE void decode_nibbles(const decoder *d, __m256i nibbles, split special, __m256 weights[PARTS][PAIRS], int pair,
                              int has_specials) {
    const __m256i codes = _mm256_and_si256(nibbles, _mm256_set1_epi8(15));
    __m256i low = _mm256_shuffle_epi8(d->table.low, codes), high = _mm256_shuffle_epi8(d->table.high, codes);
    if (has_specials) {
        const __m256i is_special = _mm256_cmpeq_epi8(codes, _mm256_set1_epi8(8));
        low = _mm256_blendv_epi8(low, special.low, is_special);
        high = _mm256_blendv_epi8(high, special.high, is_special);
    }
    const __m256i parts[PARTS] = {_mm256_unpacklo_epi8(low, high), _mm256_unpackhi_epi8(low, high)};
    CK_UNROLL
    for (int part = 0; part < PARTS; part++) {
        weights[part][pair] = ck_even_avx2(parts[part]);
        weights[part][pair + 1] = ck_odd_avx2(parts[part]);
    }
}

CK_INLINE void decode_half(const decoder *d, const uint8_t *line, int half, split special, __m256 weights[PARTS][PAIRS],
                           int has_specials) {
    const __m256i both = code4_half_line(line, half);
    decode_nibbles(d, both, special, weights, 0, has_specials);
    decode_nibbles(d, _mm256_srli_epi16(both, 4), special, weights, 2, has_specials);
}

// A pair of a line of x, in turn.
CK_INLINE __m256 pair_of_x(const float *line, int pair) {
    double both;
    memcpy(&both, line + 2 * (pair / 2) + 4 * (pair % 2), sizeof both);
    return _mm256_castpd_ps(_mm256_set1_pd(both));
}

// For each part the chains of even and odd k, of one half and row of x.
typedef struct {
    __m256 of[PARTS][2];
} chains;

CK_INLINE void clear(chains *sum) {
    CK_UNROLL
    for (int part = 0; part < PARTS; part++) sum->of[part][0] = sum->of[part][1] = _mm256_setzero_ps();
}

CK_INLINE void add_half(chains *sum, __m256 weights[PARTS][PAIRS], const float *x) {
    CK_UNROLL
    for (int pair = 0; pair < PAIRS; pair++) {
        const __m256 x_pair = pair_of_x(x, pair);
        CK_UNROLL
        for (int part = 0; part < PARTS; part++)
            sum->of[part][pair % 2] = _mm256_fmadd_ps(weights[part][pair], x_pair, sum->of[part][pair % 2]);
    }
}

CK_INLINE void add_scaled(const chains *sum, const __m256 scale[PARTS], __m256 acc[PARTS]) {
    CK_UNROLL
    for (int part = 0; part < PARTS; part++)
        acc[part] = _mm256_fmadd_ps(_mm256_add_ps(sum->of[part][0], sum->of[part][1]), scale[part], acc[part]);
}

// Scales of a half's rows as the parts have them.
CK_INLINE void scale_parts(__m256 rows, __m256 scale[PARTS]) {
    scale[0] = _mm256_unpacklo_ps(rows, rows);
    scale[1] = _mm256_unpackhi_ps(rows, rows);
}

CK_INLINE void finish(const ck_gemm_call *call, const ck_code4_weights *w, const decoder *d, size_t m, size_t panel,
                      __m256 acc[2][PARTS]) {
    CK_UNROLL
    for (int half = 0; half < 2; half++)
        ck_finish_scaled_avx2(call, m, panel, (size_t)half, _mm256_hadd_ps(acc[half][0], acc[half][1]), d->scales.unit,
                              w->tensor_scale);
}

// A group of a half against one row of x.
CK_INLINE void add_codes(const decoder *d, const uint8_t *codes, const code4_group *group, const float *x, size_t lines, int half,
                         __m256 acc[PARTS], int has_specials) {
    const split special = specials_of(d, group, half);
    chains sum;
    clear(&sum);
    for (size_t line = 0; line < lines; line++, codes += CODE4_LINE_BYTES, x += CODE4_LINE_K) {
        __m256 weights[PARTS][PAIRS];
        decode_half(d, codes, half, special, weights, has_specials);
        add_half(&sum, weights, x);
    }
    __m256 scale[PARTS];
    scale_parts(group->scale[half], scale);
    add_scaled(&sum, scale, acc);
}

// A panel against one row of x.
CK_INLINE void panel_row(const ck_gemm_call *call, const ck_code4_weights *w, const decoder *d, size_t panel, const float *x,
                         int has_specials, int bitmap) {
    const uint8_t *const panel_scales = code4_panel_scales(w, panel);
    code4_lines panel_lines;
    code4_open_lines(&panel_lines, w, panel, NULL, bitmap);
    const size_t groups = code4_step_groups(w), lines = 2 * code4_group_units(w);
    __m256 acc[2][PARTS] = {{_mm256_setzero_ps(), _mm256_setzero_ps()}, {_mm256_setzero_ps(), _mm256_setzero_ps()}};
    for (code4_walk walk = code4_walk_of(call, w); code4_next(&walk, w);) {
        const uint8_t *codes = code4_step_lines(&panel_lines, walk.step, bitmap);
        const uint8_t *scales = code4_step_scales(&walk, &d->scales, panel_scales);
        for (size_t g = 0; g < groups; g++, scales += d->scales.bytes) {
            const code4_group group = code4_group_of(&d->scales, scales);
            CK_UNROLL
            for (int half = 0; half < 2; half++) add_codes(d, codes, &group, x, lines, half, acc[half], has_specials);
            codes += lines * CODE4_LINE_BYTES;
            x += lines * CODE4_LINE_K;
        }
    }
    finish(call, w, d, 0, panel, acc);
}

// A group of at most a step, decoded.
typedef struct {
    __m256 weights[2][2 * CODE4_STEP_UNITS][PARTS][PAIRS];
    __m256 scale[2][PARTS];
} decoded;

CK_INLINE void decode_group(const decoder *d, const uint8_t *codes, const uint8_t *scales, size_t lines, decoded *to,
                            int has_specials) {
    const code4_group group = code4_group_of(&d->scales, scales);
    const split specials[2] = {specials_of(d, &group, 0), specials_of(d, &group, 1)};
    scale_parts(group.scale[0], to->scale[0]);
    scale_parts(group.scale[1], to->scale[1]);
    for (size_t line = 0; line < lines; line++, codes += CODE4_LINE_BYTES) {
        CK_UNROLL
        for (int half = 0; half < 2; half++) decode_half(d, codes, half, specials[half], to->weights[half][line], has_specials);
    }
}

// A decoded group into the accumulators of `rows` rows of x.
CK_INLINE void add_group(decoded *group, const float *x, size_t row_elements, size_t lines, __m256 (*acc)[2][PARTS], int rows) {
    CK_UNROLL
    for (int half = 0; half < 2; half++) {
        chains sum[ROWS];
        CK_UNROLL
        for (int m = 0; m < rows; m++) clear(&sum[m]);
        for (size_t line = 0; line < lines; line++) {
            CK_UNROLL
            for (int m = 0; m < rows; m++)
                add_half(&sum[m], group->weights[half][line], x + (size_t)m * row_elements + line * CODE4_LINE_K);
        }
        CK_UNROLL
        for (int m = 0; m < rows; m++) add_scaled(&sum[m], group->scale[half], acc[m][half]);
    }
}

// A panel against all rows of x; `acc` is theirs.
CK_INLINE void panel_rows(const ck_gemm_call *call, const ck_code4_weights *w, const decoder *d, size_t panel, const float *x,
                          __m256 (*acc)[2][PARTS], int has_specials, int bitmap) {
    const uint8_t *const panel_scales = code4_panel_scales(w, panel);
    code4_lines panel_lines;
    code4_open_lines(&panel_lines, w, panel, NULL, bitmap);
    const size_t groups = code4_step_groups(w), lines = 2 * code4_group_units(w);
    const size_t row_elements = ck_code4_x_elements(call->k, &w->view);
    memset(acc, 0, call->m * sizeof *acc);
    for (code4_walk walk = code4_walk_of(call, w); code4_next(&walk, w);) {
        const uint8_t *codes = code4_step_lines(&panel_lines, walk.step, bitmap);
        const uint8_t *scales = code4_step_scales(&walk, &d->scales, panel_scales);
        for (size_t g = 0; g < groups; g++, codes += lines * CODE4_LINE_BYTES, scales += d->scales.bytes) {
            decoded group;
            decode_group(d, codes, scales, lines, &group, has_specials);
            size_t m = 0;
            for (; m + ROWS <= call->m; m += ROWS) add_group(&group, x + m * row_elements, row_elements, lines, acc + m, ROWS);
            if (m < call->m) add_group(&group, x + m * row_elements, row_elements, lines, acc + m, 1);
            x += lines * CODE4_LINE_K;
        }
    }
    for (size_t m = 0; m < call->m; m++) finish(call, w, d, m, panel, acc[m]);
}

static void widen_x(const uint16_t *x, size_t elements, float *wide) {
    for (size_t i = 0; i < elements; i += 8) {
        const __m256i bits = _mm256_cvtepu16_epi32(_mm_loadu_si128((const __m128i *)(x + i)));
        _mm256_storeu_ps(wide + i, ck_even_avx2(bits));
    }
}

// Scratch: accumulators of all rows, then x as fp32.
size_t ck_code4_gemm_bf16_avx2_scratch(const ck_gemm_call *call, const ck_code4_weights *w) {
    return call->m * (sizeof(__m256[2][PARTS]) + ck_code4_x_elements(call->k, &w->view) * sizeof(float));
}

void ck_code4_gemm_bf16_avx2(const ck_gemm_call *call, const ck_code4_weights *w, size_t panel_begin, size_t panel_end,
                             void *scratch) {
    const decoder d = decoder_of(w);
    const size_t row_elements = ck_code4_x_elements(call->k, &w->view);
    __m256(*const acc)[2][PARTS] = scratch;
    float *const x = (float *)(acc + call->m);
    for (size_t m = 0; m < call->m; m++)
        widen_x((const uint16_t *)((const char *)call->x + m * call->x_stride), row_elements, x + m * row_elements);
    for (size_t panel = panel_begin; panel < panel_end; panel++) {
        if (call->m == 1) {
            if (w->bitmap) panel_row(call, w, &d, panel, x, 1, 1);
            else if (d.has_specials) panel_row(call, w, &d, panel, x, 1, 0);
            else panel_row(call, w, &d, panel, x, 0, 0);
        } else {
            if (w->bitmap) panel_rows(call, w, &d, panel, x, acc, 1, 1);
            else if (d.has_specials) panel_rows(call, w, &d, panel, x, acc, 1, 0);
            else panel_rows(call, w, &d, panel, x, acc, 0, 0);
        }
    }
}

CK_ISA_END
#endif
