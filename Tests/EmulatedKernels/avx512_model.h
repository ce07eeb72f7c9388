// The AVX-512 of the compiler's immintrin.h without an instruction beyond any processor's baseline: same names, same types, in
// its place. support/isa.h includes it under CK_EMULATE. An intrinsic that a kernel needs and this file lacks is a compile error;
// add it beside its kind, what goes lane by lane in vector_model.h: kernels inline these a thousand times. Semantics: Intel's
// instruction set reference.
#pragma once
#include <stdint.h>
#include <string.h>
#include "model_fault.h"
#include "vector_model.h"

// Vectors of 64 bytes have one calling convention with AVX-512 and another without. Every function of the models and of the
// kernels that takes one is inlined, so no call crosses the two. The warning points at the callers: it stays off for the rest of
// the file.
#pragma clang diagnostic ignored "-Wpsabi"
#define CK_MODEL static inline __attribute__((always_inline))

typedef float __m512 __attribute__((vector_size(64)));
typedef double __m512d __attribute__((vector_size(64)));
typedef int64_t __m512i __attribute__((vector_size(64)));
typedef uint16_t __m512bh __attribute__((vector_size(64)));
typedef int64_t __m256i __attribute__((vector_size(32)));
typedef int64_t __m128i __attribute__((vector_size(16)));
typedef uint16_t __mmask16;
typedef uint32_t __mmask32;
typedef uint64_t __mmask64;

// A vector seen as lanes.
typedef int32_t ck_i32x16 __attribute__((vector_size(64)));
typedef uint32_t ck_u32x16 __attribute__((vector_size(64)));
typedef uint8_t ck_u8x32 __attribute__((vector_size(32)));
typedef int8_t ck_i8x32 __attribute__((vector_size(32)));
typedef int16_t ck_i16x32 __attribute__((vector_size(64)));
typedef uint16_t ck_u16x16 __attribute__((vector_size(32)));
typedef uint16_t ck_u16x32 __attribute__((vector_size(64)));
typedef uint8_t ck_u8x16 __attribute__((vector_size(16)));
typedef uint8_t ck_u8x64 __attribute__((vector_size(64)));

// Prefetching changes nothing that a program can see.
#define _MM_HINT_T0                 3
#define _mm_prefetch(address, hint) ((void)(address))

// Constants and casts.
CK_MODEL __m512 _mm512_setzero_ps(void) { return (__m512){0}; }
CK_MODEL __m512i _mm512_setzero_si512(void) { return (__m512i){0}; }
CK_MODEL __m512 _mm512_set1_ps(float value) { return (__m512){0} + value; }
CK_MODEL __m512i _mm512_set1_epi32(int32_t value) { return (__m512i)((ck_i32x16){0} + value); }
CK_MODEL __m512i _mm512_set1_epi64(int64_t value) { return (__m512i){0} + value; }
CK_MODEL __m512i _mm512_setr_epi32(int a, int b, int c, int d, int e, int f, int g, int h, int i, int j, int k, int l, int m,
                                   int n, int o, int p) {
    return (__m512i)(ck_i32x16){a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p};
}
CK_MODEL __m512i _mm512_set1_epi16(int16_t value) { return (__m512i)((ck_u16x32){0} + (uint16_t)value); }
CK_MODEL __m512i _mm512_set1_epi8(int8_t value) { return (__m512i)((ck_u8x64){0} + (uint8_t)value); }
CK_MODEL __m256i _mm256_set1_epi16(int16_t value) { return (__m256i)((ck_u16x16){0} + (uint16_t)value); }
CK_MODEL __m512i _mm512_castps_si512(__m512 a) { return (__m512i)a; }
CK_MODEL __m512 _mm512_castsi512_ps(__m512i a) { return (__m512)a; }
CK_MODEL __m512d _mm512_castps_pd(__m512 a) { return (__m512d)a; }
CK_MODEL __m512 _mm512_castpd_ps(__m512d a) { return (__m512)a; }
CK_MODEL float _mm512_cvtss_f32(__m512 a) { return a[0]; }
CK_MODEL __m512i _mm512_castsi256_si512(__m256i a) { return (__m512i){a[0], a[1], a[2], a[3]}; }
CK_MODEL __m512i _mm512_zextsi128_si512(__m128i a) { return (__m512i){a[0], a[1]}; }
CK_MODEL __m512i _mm512_zextsi256_si512(__m256i a) { return (__m512i){a[0], a[1], a[2], a[3]}; }

// Whole loads and stores. The aligned forms fault on other addresses.
CK_MODEL void ck_model_aligned(const void *address) {
    if ((uintptr_t)address % 64) ck_model_fault("an aligned vector access at an address that is no multiple of 64");
}
CK_MODEL __m512i _mm512_loadu_si512(const void *source) {
    __m512i a;
    memcpy(&a, source, sizeof a);
    return a;
}
CK_MODEL __m512 _mm512_loadu_ps(const void *source) { return (__m512)_mm512_loadu_si512(source); }
CK_MODEL __m128i _mm_loadu_si128(const void *source) {
    __m128i a;
    memcpy(&a, source, sizeof a);
    return a;
}
CK_MODEL __m256i _mm256_loadu_si256(const void *source) {
    __m256i a;
    memcpy(&a, source, sizeof a);
    return a;
}
CK_MODEL __m512i _mm512_load_si512(const void *source) {
    ck_model_aligned(source);
    return _mm512_loadu_si512(source);
}
CK_MODEL __m512 _mm512_load_ps(const void *source) { return (__m512)_mm512_load_si512(source); }
CK_MODEL void _mm512_storeu_si512(void *target, __m512i a) { memcpy(target, &a, sizeof a); }
CK_MODEL void _mm512_storeu_ps(void *target, __m512 a) { memcpy(target, &a, sizeof a); }
CK_MODEL void _mm512_store_si512(void *target, __m512i a) {
    ck_model_aligned(target);
    _mm512_storeu_si512(target, a);
}
CK_MODEL void _mm512_store_ps(void *target, __m512 a) { _mm512_store_si512(target, (__m512i)a); }

// Masked loads and stores touch the memory of active lanes alone.
CK_MODEL __m512i _mm512_maskz_loadu_epi32(__mmask16 mask, const void *source) {
    __m512i a = {0};
    ck_vector_model_move(&a, source, 4, mask);
    return a;
}
CK_MODEL __m512 _mm512_maskz_loadu_ps(__mmask16 mask, const void *source) {
    return (__m512)_mm512_maskz_loadu_epi32(mask, source);
}
CK_MODEL void _mm512_mask_storeu_ps(void *target, __mmask16 mask, __m512 a) { ck_vector_model_move(target, &a, 4, mask); }
CK_MODEL void _mm256_mask_storeu_epi16(void *target, __mmask16 mask, __m256i a) { ck_vector_model_move(target, &a, 2, mask); }

// fp32 arithmetic, rounded as the program's environment says (to nearest even unless somebody changed it).
CK_MODEL __m512 _mm512_add_ps(__m512 a, __m512 b) { return a + b; }
CK_MODEL __m512 _mm512_sub_ps(__m512 a, __m512 b) { return a - b; }
// Halves, then halves of their sums, and so on.
CK_MODEL float _mm512_reduce_add_ps(__m512 a) {
    for (int half = 8; half > 0; half /= 2)
        for (int i = 0; i < half; i++) a[i] += a[i + half];
    return a[0];
}
CK_MODEL __m512 _mm512_mul_ps(__m512 a, __m512 b) { return a * b; }
CK_MODEL __m512 _mm512_fmadd_ps(__m512 a, __m512 b, __m512 c) {
    ck_vector_model_fma((float *)&c, (const float *)&a, (const float *)&b);
    return c;
}
CK_MODEL __m512 _mm512_fmsub_ps(__m512 a, __m512 b, __m512 c) { return _mm512_fmadd_ps(a, b, -c); }
// The second operand where either is NaN.
CK_MODEL __m512 ck_model_choose(ck_i32x16 first, __m512 a, __m512 b) {
    return (__m512)((first & (ck_i32x16)a) | (~first & (ck_i32x16)b));
}
CK_MODEL __m512 _mm512_min_ps(__m512 a, __m512 b) { return ck_model_choose(a < b, a, b); }
CK_MODEL __m512 _mm512_max_ps(__m512 a, __m512 b) { return ck_model_choose(a > b, a, b); }
#define _MM_FROUND_TO_NEAREST_INT 0
#define _MM_FROUND_NO_EXC         8
CK_MODEL __m512 _mm512_roundscale_ps(__m512 a, int control) {
    if (control & ~_MM_FROUND_NO_EXC) ck_model_fault("a rounding that is not modelled");
    ck_vector_model_round((float *)&a);
    return a;
}
CK_MODEL __m512i _mm512_cvtps_epi32(__m512 a) {
    ck_i32x16 lanes;
    ck_vector_model_to_integers((int32_t *)&lanes, (const float *)&a);
    return (__m512i)lanes;
}
CK_MODEL __m512 _mm512_cvtepi32_ps(__m512i a) { return __builtin_convertvector((ck_i32x16)a, __m512); }

// Integer arithmetic wraps.
CK_MODEL __m512i _mm512_add_epi32(__m512i a, __m512i b) { return (__m512i)((ck_u32x16)a + (ck_u32x16)b); }
CK_MODEL __m512i _mm512_sub_epi16(__m512i a, __m512i b) { return (__m512i)((ck_u16x32)a - (ck_u16x32)b); }
CK_MODEL __m512i _mm512_sub_epi32(__m512i a, __m512i b) { return (__m512i)((ck_u32x16)a - (ck_u32x16)b); }
CK_MODEL __m512i _mm512_and_si512(__m512i a, __m512i b) { return a & b; }
CK_MODEL __m512i _mm512_or_si512(__m512i a, __m512i b) { return a | b; }
CK_MODEL __m512i _mm512_slli_epi32(__m512i a, unsigned count) {
    return count > 31 ? (__m512i){0} : (__m512i)((ck_u32x16)a << count);
}
CK_MODEL __m512i _mm512_srli_epi32(__m512i a, unsigned count) {
    return count > 31 ? (__m512i){0} : (__m512i)((ck_u32x16)a >> count);
}
CK_MODEL __m512i _mm512_srai_epi32(__m512i a, unsigned count) {
    return (__m512i)((ck_i32x16)a >> (int)(count > 31 ? 31 : count));
}
CK_MODEL __m512i _mm512_xor_si512(__m512i a, __m512i b) { return a ^ b; }
CK_MODEL __m512i _mm512_slli_epi16(__m512i a, unsigned count) {
    return count > 15 ? (__m512i){0} : (__m512i)((ck_u16x32)a << (uint16_t)count);
}
CK_MODEL __m512i _mm512_srli_epi16(__m512i a, unsigned count) {
    return count > 15 ? (__m512i){0} : (__m512i)((ck_u16x32)a >> (uint16_t)count);
}
CK_MODEL __m256i _mm256_and_si256(__m256i a, __m256i b) { return a & b; }
CK_MODEL __m256i _mm256_slli_epi16(__m256i a, unsigned count) {
    return count > 15 ? (__m256i){0} : (__m256i)((ck_u16x16)a << (uint16_t)count);
}
CK_MODEL __m512i _mm512_srlv_epi16(__m512i a, __m512i counts) {
    ck_u16x32 lanes;
    for (int i = 0; i < 32; i++) {
        const uint16_t count = ((ck_u16x32)counts)[i];
        lanes[i] = count > 15 ? 0 : (uint16_t)(((ck_u16x32)a)[i] >> count);
    }
    return (__m512i)lanes;
}
CK_MODEL __m512i _mm512_cvtepu8_epi16(__m256i a) { return (__m512i) __builtin_convertvector((ck_u8x32)a, ck_u16x32); }
CK_MODEL __m512i _mm512_cvtepu8_epi32(__m128i a) { return (__m512i) __builtin_convertvector((ck_u8x16)a, ck_i32x16); }
CK_MODEL __m512i _mm512_cvtepi8_epi16(__m256i a) { return (__m512i) __builtin_convertvector((ck_i8x32)a, ck_i16x32); }
CK_MODEL __m256i _mm256_cvtepu8_epi16(__m128i a) { return (__m256i) __builtin_convertvector((ck_u8x16)a, ck_u16x16); }
// Bit 4 a + 2 b + c of `truth` for every bit.
CK_MODEL __m512i _mm512_ternarylogic_epi32(__m512i a, __m512i b, __m512i c, int truth) {
    __m512i result = {0};
    for (int i = 0; i < 8; i++)
        if (truth >> i & 1) result |= (i & 4 ? a : ~a) & (i & 2 ? b : ~b) & (i & 1 ? c : ~c);
    return result;
}
// The upper half of a:b shifted left, word by word.
CK_MODEL __m512i _mm512_shldi_epi16(__m512i a, __m512i b, unsigned count) {
    count &= 15;
    return count == 0 ? a : _mm512_slli_epi16(a, count) | _mm512_srli_epi16(b, 16 - count);
}
// The low 16 bits of each dword.
CK_MODEL __m256i _mm512_cvtepi32_epi16(__m512i a) { return (__m256i) __builtin_convertvector((ck_u32x16)a, ck_u16x16); }

CK_MODEL __m512 _mm512_cvtph_ps(__m256i a) {
    __m512 lanes;
    ck_vector_model_f16((float *)&lanes, (const uint16_t *)&a);
    return lanes;
}

// Lanes by number: of a vector, of the two `a`, `b`, of a constant.
CK_MODEL __m512i _mm512_permutexvar_epi8(__m512i index, __m512i a) {
    __m512i lanes;
    ck_vector_model_permute8((uint8_t *)&lanes, (const uint8_t *)&index, (const uint8_t *)&a);
    return lanes;
}
CK_MODEL __m512i _mm512_permutex2var_epi16(__m512i a, __m512i index, __m512i b) {
    const __m512i table[2] = {a, b};
    __m512i lanes;
    ck_vector_model_permute16((uint16_t *)&lanes, (const uint16_t *)&index, (const uint16_t *)table, 64);
    return lanes;
}
CK_MODEL __m512i _mm512_permutexvar_epi16(__m512i index, __m512i a) {
    __m512i lanes;
    ck_vector_model_permute16((uint16_t *)&lanes, (const uint16_t *)&index, (const uint16_t *)&a, 32);
    return lanes;
}
CK_MODEL __m512i _mm512_permutexvar_epi32(__m512i index, __m512i a) {
    ck_u32x16 lanes;
    for (unsigned i = 0; i < 16; i++) lanes[i] = ((ck_u32x16)a)[((ck_u32x16)index)[i] & 15];
    return (__m512i)lanes;
}
// A byte of each qword of `a` from bit `control` on, round its end.
CK_MODEL __m512i _mm512_multishift_epi64_epi8(__m512i control, __m512i a) {
    __m512i bytes;
    ck_vector_model_multishift((uint8_t *)&bytes, (const uint8_t *)&control, (const uint64_t *)&a);
    return bytes;
}
CK_MODEL __m512i _mm512_maskz_permutex2var_epi16(__mmask32 mask, __m512i a, __m512i index, __m512i b) {
    const __m512i all = _mm512_permutex2var_epi16(a, index, b);
    __m512i lanes = {0};
    ck_vector_model_move(&lanes, &all, 2, mask);
    return lanes;
}
CK_MODEL __m512i _mm512_shuffle_epi32(__m512i a, unsigned lanes) {
    ck_u32x16 result;
    for (unsigned i = 0; i < 16; i++) result[i] = ((ck_u32x16)a)[(i & ~3u) | (lanes >> 2 * (i & 3) & 3)];
    return (__m512i)result;
}
CK_MODEL __m512i _mm512_shuffle_i64x2(__m512i a, __m512i b, unsigned lanes) {
    __m512i result;
    for (unsigned i = 0; i < 8; i++) result[i] = (i < 4 ? a : b)[(lanes >> (i & ~1u) & 3) * 2 + i % 2];
    return result;
}

// Within quarters: the lower or upper halves of `a` and `b`, element by element in turn.
CK_MODEL __m512i ck_model_unpack16(__m512i a, __m512i b, unsigned upper) {
    ck_u16x32 lanes;
    for (unsigned i = 0; i < 32; i++) lanes[i] = ((ck_u16x32)(i % 2 ? b : a))[(i & ~7u) + upper * 4 + i % 8 / 2];
    return (__m512i)lanes;
}
CK_MODEL __m512i _mm512_unpacklo_epi16(__m512i a, __m512i b) { return ck_model_unpack16(a, b, 0); }
CK_MODEL __m512i _mm512_unpackhi_epi16(__m512i a, __m512i b) { return ck_model_unpack16(a, b, 1); }
CK_MODEL __m512i ck_model_unpack8(__m512i a, __m512i b, unsigned upper) {
    ck_u8x64 lanes;
    for (unsigned i = 0; i < 64; i++) lanes[i] = ((ck_u8x64)(i % 2 ? b : a))[(i & ~15u) + upper * 8 + i % 16 / 2];
    return (__m512i)lanes;
}
CK_MODEL __m512i _mm512_unpacklo_epi8(__m512i a, __m512i b) { return ck_model_unpack8(a, b, 0); }
CK_MODEL __m512i _mm512_unpackhi_epi8(__m512i a, __m512i b) { return ck_model_unpack8(a, b, 1); }
CK_MODEL __m512 ck_model_unpack32(__m512 a, __m512 b, unsigned upper) {
    __m512 lanes;
    for (unsigned i = 0; i < 16; i++) lanes[i] = (i % 2 ? b : a)[(i & ~3u) + upper * 2 + i % 4 / 2];
    return lanes;
}
CK_MODEL __m512 _mm512_unpacklo_ps(__m512 a, __m512 b) { return ck_model_unpack32(a, b, 0); }
CK_MODEL __m512 _mm512_unpackhi_ps(__m512 a, __m512 b) { return ck_model_unpack32(a, b, 1); }
CK_MODEL __m512d ck_model_unpack64(__m512d a, __m512d b, unsigned upper) {
    __m512d lanes;
    for (unsigned i = 0; i < 8; i++) lanes[i] = (i % 2 ? b : a)[(i & ~1u) + upper];
    return lanes;
}
CK_MODEL __m512d _mm512_unpacklo_pd(__m512d a, __m512d b) { return ck_model_unpack64(a, b, 0); }
CK_MODEL __m512d _mm512_unpackhi_pd(__m512d a, __m512d b) { return ck_model_unpack64(a, b, 1); }
CK_MODEL __m512 _mm512_shuffle_f32x4(__m512 a, __m512 b, unsigned lanes) {
    return (__m512)_mm512_shuffle_i64x2((__m512i)a, (__m512i)b, lanes);
}
CK_MODEL __m512 _mm512_permutex2var_ps(__m512 a, __m512i index, __m512 b) {
    __m512 lanes;
    for (unsigned i = 0; i < 16; i++) lanes[i] = (((ck_u32x16)index)[i] & 16 ? b : a)[((ck_u32x16)index)[i] & 15];
    return lanes;
}
CK_MODEL __m512i _mm512_inserti64x4(__m512i a, __m256i b, int half) {
    for (int i = 0; i < 4; i++) a[(half & 1) * 4 + i] = b[i];
    return a;
}

#define _CMP_UNORD_Q 3
#define _CMP_NLT_UQ  5
CK_MODEL __mmask16 _mm512_cmp_ps_mask(__m512 a, __m512 b, int predicate) {
    return ck_vector_model_compare((const float *)&a, (const float *)&b, predicate);
}
CK_MODEL __m512i _mm512_mask_blend_epi32(__mmask16 mask, __m512i a, __m512i b) {
    ck_vector_model_move(&a, &b, 4, mask);
    return a;
}

CK_MODEL __m512 _mm512_maskz_mov_ps(__mmask16 mask, __m512 a) {
    __m512 lanes = {0};
    ck_vector_model_move(&lanes, &a, 4, mask);
    return lanes;
}
CK_MODEL __m512 _mm512_mask_max_ps(__m512 a, __mmask16 mask, __m512 b, __m512 c) {
    const __m512 most = _mm512_max_ps(b, c);
    ck_vector_model_move(&a, &most, 4, mask);
    return a;
}

CK_MODEL __m512i _mm512_mask_blend_epi8(__mmask64 mask, __m512i a, __m512i b) {
    ck_vector_model_move(&a, &b, 1, mask);
    return a;
}

CK_MODEL __m512i _mm512_maskz_expand_epi16(__mmask32 mask, __m512i a) {
    __m512i lanes;
    ck_vector_model_expand16((uint16_t *)&lanes, (const uint16_t *)&a, mask);
    return lanes;
}
CK_MODEL __m512i _mm512_maskz_expand_epi8(__mmask64 mask, __m512i a) {
    __m512i lanes;
    ck_vector_model_expand8((uint8_t *)&lanes, (const uint8_t *)&a, mask);
    return lanes;
}

CK_MODEL __m512bh _mm512_cvtne2ps_pbh(__m512 a, __m512 b) {
    __m512bh lanes;
    ck_vector_model_to_bf16((uint16_t *)&lanes, (const float *)&a, (const float *)&b);
    return lanes;
}
CK_MODEL __m512 _mm512_dpbf16_ps(__m512 sum, __m512bh a, __m512bh b) {
    ck_vector_model_dot_bf16((float *)&sum, (const uint16_t *)&a, (const uint16_t *)&b);
    return sum;
}
CK_MODEL __m512i _mm512_dpwssd_epi32(__m512i sum, __m512i a, __m512i b) {
    ck_vector_model_dot_s16((uint32_t *)&sum, (const int16_t *)&a, (const int16_t *)&b);
    return sum;
}
CK_MODEL __m512i _mm512_dpbusd_epi32(__m512i sum, __m512i a, __m512i b) {
    ck_vector_model_dot_u8_s8((uint32_t *)&sum, (const uint8_t *)&a, (const int8_t *)&b);
    return sum;
}
