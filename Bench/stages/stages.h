// What the stage program and its kernels share. A kernel's file is compiled once for each of its lines in variants.inc, with
// STAGE_SET and STAGE_NAME from that line and the line's knobs as macros.
#pragma once
#include "ck_bitmap_gemm.h"
#include "ck_dense_gemm.h"

#define STAGE_PASTE_(set, name) stage_##set##_##name
#define STAGE_PASTE(set, name)  STAGE_PASTE_(set, name)
// The one function that a kernel's object shows, and names for what the shipped file would show.
#define STAGE_RUN            STAGE_PASTE(STAGE_SET, STAGE_NAME)
#define STAGE_HIDDEN_(run)   run##_kernel
#define STAGE_HIDDEN(run)    STAGE_HIDDEN_(run)
#define STAGE_SCRATCH_(run)  run##_scratch
#define STAGE_SCRATCH(run)   STAGE_SCRATCH_(run)
#define STAGE_KERNEL         STAGE_HIDDEN(STAGE_RUN)
#define STAGE_KERNEL_SCRATCH STAGE_SCRATCH(STAGE_RUN)

typedef struct {
    ck_bitmap_weights bitmap;
    ck_dense_weights dense;
} stage_weights;

typedef void stage_run(const ck_gemm_call *call, const stage_weights *w, size_t panel_begin, size_t panel_end, void *scratch);

enum {
    STAGE_EXACT = 1,    // the result is right, and has the bits of the set's first variant
    STAGE_HOT = 2,      // each thread stays with one chunk of weights, which its L2 cache holds
    STAGE_KEPT_X = 4,   // x is not written anew before each run
    STAGE_X_TILES = 8,  // x comes as tiles: [step][block of 16 rows][16][64 bytes]
};

// Operands for whoever leaves out a load: random bf16 numbers, in every L1 cache after the first use.
extern _Alignas(64) char stage_fixed_tile[1024];
// Values that a line of a tile holds on average.
extern size_t stage_line_values;
