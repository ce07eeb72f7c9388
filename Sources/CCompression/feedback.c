// Error feedback, of rounding and of dropping. Inputs are taken in blocks of 128 positions: inside a block an error reaches the
// block's other inputs at once, the inputs behind it once for the whole block.
//
//     work     CC_FEEDBACK_ROWS x inputs    the rows of x in the order of positions, less what earlier errors took
//     errors   CC_FEEDBACK_ROWS x 128       of this block, each divided by its U[i][i]
//     choices  for each group, of the row at hand
#include "levels.h"
#include "scale.h"

#pragma STDC FP_CONTRACT OFF

enum { BLOCK = 128, COLUMNS = 32 };

// A group's choice, its thresholds ready.
typedef struct {
    cc_choice choice;
    float thresholds[16];
    uint32_t chosen;
} group_state;

typedef struct {
    float *work, *errors, *trail;
    group_state *groups;  // CC_FEEDBACK_ROWS x groups
} scratch_parts;

static size_t groups_of(size_t inputs, size_t group) { return (inputs + group - 1) / group; }

static size_t floats_of(size_t inputs) {
    return CC_FEEDBACK_ROWS * ((inputs + COLUMNS - 1) / COLUMNS * COLUMNS + BLOCK) + BLOCK * COLUMNS;
}

size_t cc_feedback_scratch_bytes(size_t inputs, size_t group) {
    return floats_of(inputs) * sizeof(float) + CC_FEEDBACK_ROWS * groups_of(inputs, group) * sizeof(group_state);
}

static size_t work_stride(size_t inputs) { return (inputs + COLUMNS - 1) / COLUMNS * COLUMNS; }

static scratch_parts parts_of(void *scratch, size_t inputs) {
    scratch_parts parts = {.work = scratch};
    parts.errors = parts.work + CC_FEEDBACK_ROWS * work_stride(inputs);
    parts.trail = parts.errors + CC_FEEDBACK_ROWS * BLOCK;
    parts.groups = (group_state *)(parts.trail + BLOCK * COLUMNS);
    return parts;
}

// What an input holds now. Behind the block the errors of the block are still to be taken from it.
static float current(const cc_feedback *f, const float *work, const float *errors, size_t place, size_t begin, size_t position,
                     size_t end) {
    float value = work[place];
    if (place >= end)
        for (size_t i = begin; i < position; i++) value -= errors[i - begin] * f->factor[i * f->inputs + place];
    return value;
}

static int is_kept(const uint8_t *kept, size_t input) { return !kept || kept[input]; }

// What is dropped counts as 0, which every scale has.
static cc_result choose_group(const cc_feedback *f, const float *work, const float *errors, const uint8_t *kept, size_t index,
                              size_t begin, size_t position, size_t end, group_state *state) {
    const size_t first = index * f->search->group;
    const size_t n = f->inputs - first < f->search->group ? f->inputs - first : f->search->group;
    float x[CC_MOST_GROUP];
    for (size_t i = 0; i < n; i++)
        x[i] = is_kept(kept, first + i) ? current(f, work, errors, f->places[first + i], begin, position, end) : 0;
    const cc_result result = cc_choose(f->search, x, f->weights + first, n, &state->choice);
    cc_thresholds(&f->search->candidates[state->choice.candidate], state->choice.step, state->thresholds);
    state->chosen = 1;
    return result;
}

// The code of one element, and what it stands for.
static float quantize_element(const cc_search *search, const group_state *state, float x, uint8_t *code) {
    const cc_candidate *c = &search->candidates[state->choice.candidate];
    if (state->choice.step == 0) {
        *code = c->zero_code;
        return 0;
    }
    const float y = x * state->choice.sign;
    int32_t level = 0;
    for (size_t i = 0; i < 16; i++) level += y >= state->thresholds[i];
    *code = c->codes[level];
    return c->levels[level] * state->choice.step * state->choice.sign;
}

// Records the error of a position that becomes `value`, and takes it from the rest of its block.
static void settle(const cc_feedback *f, float *work, float *errors, size_t begin, size_t position, size_t end, float value) {
    const float *const row = f->factor + position * f->inputs;
    const float error = (work[position] - value) / row[position];
    errors[position - begin] = error;
    for (size_t j = position + 1; j < end; j++) work[j] -= error * row[j];
}

static cc_result quantize_block(const cc_feedback *f, float *work, float *errors, const uint8_t *kept, size_t begin, size_t end,
                                group_state *groups, uint8_t *codes, uint16_t *scales, size_t *bad_group) {
    for (size_t position = begin; position < end; position++) {
        const size_t input = f->order[position], index = input / f->search->group;
        group_state *const state = &groups[index];
        if (!state->chosen) {
            *bad_group = index;
            const cc_result result = choose_group(f, work, errors, kept, index, begin, position, end, state);
            if (result != CC_OK) return result;
            scales[index] = (uint16_t)state->choice.bits;
        }
        const float target = is_kept(kept, input) ? work[position] : 0;
        settle(f, work, errors, begin, position, end, quantize_element(f->search, state, target, &codes[input]));
    }
    return CC_OK;
}

static void prune_block(const cc_feedback *f, float *work, float *errors, const uint8_t *kept, size_t begin, size_t end,
                        float *pruned) {
    for (size_t position = begin; position < end; position++) {
        const size_t input = f->order[position];
        pruned[input] = kept[input] ? work[position] : 0;
        settle(f, work, errors, begin, position, end, pruned[input]);
    }
}

// Takes the errors of `count` positions from 4 rows of work, `columns` floats wide.
static void take_errors(const float *errors, size_t count, const float *trail, float *work, size_t stride, size_t columns) {
    for (size_t j = 0; j < columns; j += 8) {
        cc_f4 sums[4][2];
        for (size_t r = 0; r < 4; r++)
            for (size_t v = 0; v < 2; v++) sums[r][v] = cc_load(work + r * stride + j + 4 * v);
        for (size_t i = 0; i < count; i++) {
            const cc_f4 left = cc_load(trail + i * COLUMNS + j), right = cc_load(trail + i * COLUMNS + j + 4);
            for (size_t r = 0; r < 4; r++) {
                const cc_f4 error = cc_splat(errors[r * BLOCK + i]);
                sums[r][0] -= error * left;
                sums[r][1] -= error * right;
            }
        }
        for (size_t r = 0; r < 4; r++)
            for (size_t v = 0; v < 2; v++) cc_store(work + r * stride + j + 4 * v, sums[r][v]);
    }
}

// The block's errors reach everything behind it. 32 columns of U at a time are copied, so that they stay in the L1 cache for all
// rows whatever the row length.
static void update_rest(const cc_feedback *f, const scratch_parts *parts, size_t begin, size_t end) {
    const size_t stride = work_stride(f->inputs);
    for (size_t column = end; column < f->inputs; column += COLUMNS) {
        const size_t width = f->inputs - column < COLUMNS ? f->inputs - column : COLUMNS;
        for (size_t i = begin; i < end; i++) {
            float *const target = parts->trail + (i - begin) * COLUMNS;
            memcpy(target, f->factor + i * f->inputs + column, width * sizeof(float));
            memset(target + width, 0, (COLUMNS - width) * sizeof(float));
        }
        for (size_t row = 0; row < CC_FEEDBACK_ROWS; row += 4)
            take_errors(parts->errors + row * BLOCK, end - begin, parts->trail, parts->work + row * stride + column, stride,
                        (width + 7) / 8 * 8);
    }
}

static scratch_parts start(const cc_feedback *f, const float *x, float factor, size_t rows, size_t group, void *scratch) {
    const size_t inputs = f->inputs;
    memset(scratch, 0, cc_feedback_scratch_bytes(inputs, group));
    const scratch_parts parts = parts_of(scratch, inputs);
    for (size_t row = 0; row < rows; row++)
        for (size_t i = 0; i < inputs; i++) parts.work[row * work_stride(inputs) + i] = x[row * inputs + f->order[i]] * factor;
    return parts;
}

static size_t block_end(size_t begin, size_t inputs) { return inputs - begin < BLOCK ? inputs : begin + BLOCK; }

cc_result cc_quantize_rows_with_feedback(const cc_feedback *f, const float *x, const uint8_t *kept, float factor, size_t rows,
                                         void *scratch, uint8_t *codes, uint16_t *scales, size_t *bad_row, size_t *bad_group) {
    const size_t inputs = f->inputs, stride = work_stride(inputs), groups = groups_of(inputs, f->search->group);
    const scratch_parts parts = start(f, x, factor, rows, f->search->group, scratch);
    for (size_t begin = 0; begin < inputs; begin += BLOCK) {
        const size_t end = block_end(begin, inputs);
        for (size_t row = 0; row < rows; row++) {
            *bad_row = row;
            const cc_result result =
                quantize_block(f, parts.work + row * stride, parts.errors + row * BLOCK, kept ? kept + row * inputs : NULL, begin,
                               end, parts.groups + row * groups, codes + row * inputs, scales + row * groups, bad_group);
            if (result != CC_OK) return result;
        }
        update_rest(f, &parts, begin, end);
    }
    return CC_OK;
}

void cc_prune_rows_with_feedback(const cc_feedback *f, const float *x, const uint8_t *kept, size_t rows, void *scratch,
                                 float *pruned) {
    const size_t inputs = f->inputs, stride = work_stride(inputs);
    const scratch_parts parts = start(f, x, 1, rows, CC_MOST_GROUP, scratch);
    for (size_t begin = 0; begin < inputs; begin += BLOCK) {
        const size_t end = block_end(begin, inputs);
        for (size_t row = 0; row < rows; row++)
            prune_block(f, parts.work + row * stride, parts.errors + row * BLOCK, kept + row * inputs, begin, end,
                        pruned + row * inputs);
        update_rest(f, &parts, begin, end);
    }
}
