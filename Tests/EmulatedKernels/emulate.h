// Compiles the shipped kernels again over the models, under names of their own. First include of every file in this folder that
// does so:
//
//     kernels/dense_gemm_amxbf16.c     #include "emulate.h"
//                                      #include "dense_gemm/dense_gemm_amxbf16.c"
//
// The kernels' sources stay as they are. Their functions are declared here with another symbol, ck_NAME_emulated, before the
// source defines them; which functions there are comes from the shipped lists. A variant whose source is missing in kernels/
// fails to link.
#pragma once
#define CK_EMULATE 1
#include "ck_attention.h"
#include "ck_bitmap_gemm.h"
#include "ck_code4_gemm.h"
#include "ck_dense_gemm.h"
#include "ck_latent_attention.h"
#include "support/isa.h"

// CK_MODEL_##isa(text) gives `text` where the instruction set, as variants.inc spells it, has a model, and nothing where every
// machine that compiles the kernel can run it too. A new tag needs a line.
#define CK_MODEL_CK_ISA_SCALAR(...)
#define CK_MODEL_CK_NEEDS(tag) CK_MODEL_##tag
#define CK_MODEL_avx2(...)
#define CK_MODEL_avx512(...)     __VA_ARGS__
#define CK_MODEL_avx512bf16(...) __VA_ARGS__
#define CK_MODEL_avx512vnni(...) __VA_ARGS__
#define CK_MODEL_amxbf16(...)    __VA_ARGS__
#define CK_MODEL_amxint8(...)    __VA_ARGS__

#define CK_TEXT_(text)    #text
#define CK_TEXT(text)     CK_TEXT_(text)
#define CK_EMULATED(name) __asm__(CK_TEXT(__USER_LABEL_PREFIX__) "ck_" #name "_emulated")

#define CK_DECLARE(fn, weights, scratch)                                                                                         \
    size_t ck_##scratch(const ck_gemm_call *) CK_EMULATED(scratch);                                                              \
    void ck_##fn(const ck_gemm_call *, const weights *, size_t, size_t, void *) CK_EMULATED(fn);

#define CK_DENSE_GEMM(fn, isa, min_m, scratch) CK_MODEL_##isa(CK_DECLARE(fn, ck_dense_weights, scratch))
#include "dense_gemm/variants.inc"
#undef CK_DENSE_GEMM

#define CK_BITMAP_GEMM(fn, type, isa, min_m, scratch) CK_MODEL_##isa(CK_DECLARE(fn, ck_bitmap_weights, scratch))
#include "bitmap_gemm/variants.inc"
#undef CK_BITMAP_GEMM

#define CK_CODE4_GEMM(fn, type, isa, min_m, min_group, scratch)                                                                  \
    CK_MODEL_##isa(size_t ck_##scratch(const ck_gemm_call *, const ck_code4_weights *) CK_EMULATED(scratch);                     \
                   void ck_##fn(const ck_gemm_call *, const ck_code4_weights *, size_t, size_t, void *) CK_EMULATED(fn);)
#include "code4_gemm/variants.inc"
#undef CK_CODE4_GEMM

#define CK_LATENT_KEYS(fn, type, isa, scratch)                                                                                   \
    CK_MODEL_##isa(size_t ck_##scratch(const ck_latent_group *, size_t) CK_EMULATED(scratch);                                    \
                   void ck_##fn(const ck_latent_group *, const ck_latent_angles *, const ck_kv_span *,                           \
                                const ck_attention_queries *, float *, size_t, void *) CK_EMULATED(fn);)
#include "latent_attention/variants.inc"
#undef CK_LATENT_KEYS

#define CK_ATTENTION_KEYS(fn, type, isa, min_rows, scratch)                                                                      \
    CK_MODEL_##isa(size_t ck_##scratch(size_t, size_t) CK_EMULATED(scratch);                                                     \
                   void ck_##fn(const ck_kv_span *, const ck_attention_queries *, float *, size_t, void *) CK_EMULATED(fn);)
#define CK_ATTENTION_VALUES(fn, type, isa, min_rows, scratch)                                                                    \
    CK_MODEL_##isa(size_t ck_##scratch(size_t, size_t) CK_EMULATED(scratch);                                                     \
                   void ck_##fn(const ck_kv_span *, size_t, const float *, size_t, float *, size_t, void *) CK_EMULATED(fn);)
#define CK_ATTENTION_SOFTMAX(fn, isa) CK_MODEL_##isa(void ck_##fn(const ck_attention_softmax_call *) CK_EMULATED(fn);)
#include "attention/variants.inc"
#undef CK_ATTENTION_KEYS
#undef CK_ATTENTION_VALUES
#undef CK_ATTENTION_SOFTMAX
