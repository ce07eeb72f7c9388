// What the program and its kernels share. A kernel's file is compiled once for each of its lines in variants.inc, with STAGE_SET
// and STAGE_NAME from that line and the line's knobs as macros.
#pragma once
#include "ck_latent_attention.h"

#define STAGE_PASTE_(set, name)  stage_##set##_##name
#define STAGE_PASTE(set, name)   STAGE_PASTE_(set, name)
#define STAGE_RUN                STAGE_PASTE(STAGE_SET, STAGE_NAME)
#define STAGE_JOIN_(run, suffix) run##suffix
#define STAGE_JOIN(run, suffix)  STAGE_JOIN_(run, suffix)
#define STAGE_SCRATCH            STAGE_JOIN(STAGE_RUN, _scratch)

typedef void stage_run(const ck_latent_group *, const ck_latent_angles *, const ck_kv_span *, const ck_attention_queries *,
                       float *, size_t, void *);
typedef size_t stage_scratch(const ck_latent_group *, size_t);

enum {
    STAGE_EXACT = 1,  // the result is right
    STAGE_HOT = 2,    // each thread stays with one chunk, which its L2 cache holds
};
