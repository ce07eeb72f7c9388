// Random operands: packed weights in many cold copies, x in both layouts, y.
#pragma once
#include <stdbool.h>
#include "ck_pool.h"
#include "stages.h"

typedef struct {
    size_t n, k, threads, copies;
    double density;
    ck_pool *pool;
    size_t bytes;            // of one copy of the packed weights
    stage_weights *weights;  // `copies` of them, all with the same contents
    size_t most_rows;        // of x and y
    size_t x_stride, y_stride;
    char *x_source, *x, *x_tiles;
    float *y, *y_wanted;
    char *scratch;
} stage_data;

enum { STAGE_SCRATCH_BYTES = 1 << 20 };  // for each thread

// The first panel of share `share` of `shares`, whole chunks of `group` panels each.
size_t stage_share(size_t panels, size_t group, size_t shares, size_t share);

// n, k, threads, copies, density, pool and most_rows are given. dense: packs for dense_gemm instead of bitmap_gemm.
void stage_data_make(stage_data *data, bool dense);
// Writes the first `rows` rows of x anew, row by row on all threads, as a program does before each call.
void stage_data_renew_x(stage_data *data, size_t rows);
ck_gemm_call stage_data_call(const stage_data *data, size_t rows, bool x_tiles);

// Compares `rows` rows of y with the scalar kernel on some panels. Prints what differs too much.
bool stage_check(const stage_data *data, size_t rows, const char *name, bool dense);

void stage_die(const char *format, ...) __attribute__((format(printf, 1, 2), noreturn));
