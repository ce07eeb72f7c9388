// The loops of the 4-bit quantiser: rows of fp32 become codes and stored scales. Plain C, the same bits on every machine.
//
//     weight = tensor_scale * scale * level        level: a candidate's value for the code
//
// Nothing is allocated and nothing remembered. Rows are independent; different rows may be quantised by different threads.
#pragma once
#include <stddef.h>
#include <stdint.h>

#pragma clang assume_nonnull begin

enum { CC_MOST_CANDIDATES = 8, CC_MOST_GROUP = 128, CC_FEEDBACK_ROWS = 32 };

// How a group's scale is stored. Selectors lie where ck_code4_gemm.h puts them.
typedef enum __attribute__((enum_extensibility(open))) : uint32_t {
    CC_SCALE_F16 = 0,           // fp16, also negative
    CC_SCALE_F16_SELECTOR = 1,  // fp16 whose two lowest bits are the selector
    CC_SCALE_E3M3 = 2,          // bits 5..0, selector in bits 7..6
    CC_SCALE_E4M3 = 3,          // bits 6..0, selector in bit 7
    CC_SCALE_POWER = 4,         // 2^(bits 5..0 - 32), selector in bits 7..6
} cc_scale_type;

// One way to read a group's codes: 16 values in ascending order, and what a code is chosen by.
typedef struct {
    float levels[16];     // the last one repeated where there are fewer
    float midpoints[16];  // between levels i and i + 1; infinity beyond the last
    int32_t nudges[16];   // added to the bits of midpoints[i] * step, so that ">=" decides a tie as the rule wants
    uint8_t codes[16];    // of each level
    uint8_t zero_code;    // of the level nearest 0
    uint32_t selector;
    float divisor;          // the scale of a group is its largest |x| / divisor
    uint32_t follows_sign;  // 1: the largest |x| becomes the lowest level, if need be by a negative scale
} cc_candidate;

typedef enum __attribute__((enum_extensibility(open))) : uint32_t {
    CC_TIES_AWAY_FROM_ZERO = 0,
    CC_TIES_DOWN = 1,  // to the level with the lower value
} cc_tie_rule;

// values[code]; of equal values the lower code is used.
void cc_candidate_make(const float *values, uint32_t selector, float divisor, uint32_t follows_sign, cc_tie_rule ties,
                       cc_candidate *candidate);

typedef struct {
    const cc_candidate *candidates;  // tried in order; a later one has to be better
    size_t candidate_count;
    const float *clips;  // factors of the scale, tried in order
    size_t clip_count;
    size_t refits;  // least-squares fits of the scale after each assignment
    cc_scale_type scale_type;
    uint32_t exact_scales;  // 1: no rounding to the storage; scale bits are 0. For comparisons with other quantisers
    size_t group;           // 16, 32, 64 or 128
    float tensor_scale;
} cc_search;

// What was chosen for a group.
typedef struct {
    size_t candidate;
    float step;     // |scale| * tensor_scale; 0 for a group of zeros
    float sign;     // of the scale
    uint32_t bits;  // as stored
    float error;
} cc_choice;

typedef enum __attribute__((enum_extensibility(open))) : uint32_t {
    CC_OK = 0,
    CC_SCALE_OVERFLOW = 1,  // no stored scale is large enough
} cc_result;

// The best choice for n <= group elements. `weights` are the factors of the squared errors.
cc_result cc_choose(const cc_search *search, const float *x, const float *weights, size_t n, cc_choice *choice);

// Codes of n elements under a choice.
void cc_assign(const cc_search *search, const cc_choice *choice, const float *x, size_t n, uint8_t *codes);

// One row: x * factor becomes `inputs` codes and ceil(inputs / group) scales. `error` is the sum over the groups. On an overflow
// `bad_group` names the group.
cc_result cc_quantize_row(const cc_search *search, const float *x, float factor, const float *weights, size_t inputs,
                          uint8_t *codes, uint16_t *scales, double *error, size_t *bad_group);

// The largest |x|. `bad` is the first element that is not finite, or n.
float cc_largest(const float *x, size_t n, size_t *bad);

// The value of a stored scale, without its selector.
float cc_scale_value(uint32_t bits, cc_scale_type type);

// Error feedback after GPTQ (Frantar et al., arXiv 2210.17323). With U the upper Cholesky factor of the inverse second moments,
// the error of an input, divided by its U[i][i], is taken from the inputs after it in proportion to U[i][j].
typedef struct {
    const cc_search *_Nullable search;  // null, as `weights`, where nothing is rounded
    const float *_Nullable weights;     // as above, in the order of the inputs
    const float *factor;                // U, inputs x inputs, row-major, rows and columns in the order of `order`
    const uint32_t *order;              // order[position] = input
    const uint32_t *places;             // places[input] = position
    size_t inputs;
} cc_feedback;

size_t cc_feedback_scratch_bytes(size_t inputs, size_t group);

// At most CC_FEEDBACK_ROWS rows of x * factor. What `kept`, rows x inputs, has a 0 for becomes 0, and all of it is its error, as
// in SparseGPT (Frantar and Alistarh, arXiv 2301.00774); null keeps everything. `scratch` is aligned to 16 bytes. On an overflow
// `bad_row` and `bad_group` say where.
cc_result cc_quantize_rows_with_feedback(const cc_feedback *feedback, const float *x, const uint8_t *_Nullable kept, float factor,
                                         size_t rows, void *scratch, uint8_t *codes, uint16_t *scales, size_t *bad_row,
                                         size_t *bad_group);

// The same without rounding: `pruned`, rows x inputs, is 0 where `kept` is, and elsewhere what makes up for it. `scratch` is that
// of groups of 128.
void cc_prune_rows_with_feedback(const cc_feedback *feedback, const float *x, const uint8_t *kept, size_t rows, void *scratch,
                                 float *pruned);

enum { CC_MOMENT_PANEL = 8 };

// Adds the products of tokens to rows 8 panel ... 8 panel + 7 of `sums`, inputs x inputs, in the columns up to 8 panel + 7: the
// sum of x x^T on and below the diagonal, and a corner above it. `panels` are the tokens' inputs in eights, panel after panel,
// token after token, the last one filled up with zeros; all of them are floats that were widened. Each sum is in the order of
// the tokens.
void cc_add_moments(const double *panels, size_t tokens, size_t inputs, size_t panel, double *sums);

enum { CC_WEIGHTED_ROWS = 4 };

// The sum of d^T H d over CC_WEIGHTED_ROWS rows d of `inputs` numbers. Of H, inputs x inputs and symmetric, the part on and below
// the diagonal is read.
double cc_weighted_squares(const double *moments, const double *rows, size_t inputs);

#pragma clang assume_nonnull end
