// Instruction sets belong to regions of code, never to the build: a flag for the whole target would let the compiler put AVX-512
// into the scalar reference and into the check that decides whether AVX-512 may run.
//
//     #include "support/isa.h"
//     #if CK_X86
//     CK_ISA_BEGIN(avx512bf16)
//     ...
//     CK_ISA_END
//     #endif
//
// With CK_EMULATE the same file compiles over C models of the intrinsics and the tiles (Tests/EmulatedKernels), so that kernels
// run on machines without the instructions.
#pragma once
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include "ck.h"

// What a region's target lets the compiler use, as the mask that a variant must declare: CK_NEEDS(avx512bf16).
#define CK_NEEDS(isa)       CK_NEEDS_##isa
#define CK_NEEDS_avx2       CK_ISA_AVX2
#define CK_NEEDS_avx512     CK_ISA_AVX512
#define CK_NEEDS_avx512bf16 (CK_ISA_AVX512 | CK_ISA_AVX512VBMI | CK_ISA_AVX512VBMI2 | CK_ISA_AVX512BF16)
#define CK_NEEDS_avx512vnni (CK_ISA_AVX512 | CK_ISA_AVX512VBMI | CK_ISA_AVX512VBMI2 | CK_ISA_AVX512VNNI)
#define CK_NEEDS_amxbf16    (CK_NEEDS_avx512bf16 | CK_ISA_AMXTILE | CK_ISA_AMXBF16)
#define CK_NEEDS_amxint8    (CK_NEEDS_avx512vnni | CK_ISA_AMXTILE | CK_ISA_AMXINT8)

#if CK_EMULATE
#define CK_X86 1
#include "avx512_model.h"
#define CK_ISA_BEGIN(isa)
#define CK_ISA_END
#elif defined(__x86_64__)
#define CK_X86 1
#include <immintrin.h>
#define CK_TARGET_avx2       "avx2,fma,f16c,bmi,bmi2,popcnt"
#define CK_TARGET_avx512     CK_TARGET_avx2 ",avx512f,avx512bw,avx512dq,avx512vl,avx512cd"
#define CK_TARGET_avx512bf16 CK_TARGET_avx512 ",avx512bf16,avx512vbmi,avx512vbmi2"
#define CK_TARGET_avx512vnni CK_TARGET_avx512 ",avx512vnni,avx512vbmi,avx512vbmi2"
#define CK_TARGET_amxbf16    CK_TARGET_avx512bf16 ",amx-tile,amx-bf16"
#define CK_TARGET_amxint8    CK_TARGET_avx512vnni ",amx-tile,amx-int8"
#define CK_PRAGMA_(text)     _Pragma(#text)
#define CK_BEGIN_(features)  CK_PRAGMA_(clang attribute push(__attribute__((target(features))), apply_to = function))
#define CK_ISA_BEGIN(isa)    CK_BEGIN_(CK_TARGET_##isa)
#define CK_ISA_END           _Pragma("clang attribute pop")
#else
#define CK_X86 0
#endif

// Inlined whatever its size, so that a constant argument becomes a compile-time loop bound.
#define CK_INLINE static inline __attribute__((always_inline))
// In front of a loop whose bound is a constant after inlining: without it the compiler keeps arrays of accumulators in memory.
#define CK_UNROLL _Pragma("clang loop unroll(full)")
