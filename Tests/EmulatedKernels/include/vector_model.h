// AVX-512 instructions that go lane by lane, on arrays in place of registers. avx512_model.h gives them their names.
#pragma once
#include <stddef.h>
#include <stdint.h>

#pragma clang assume_nonnull begin

#ifdef __cplusplus
extern "C" {
#endif

// Copies the elements of `bytes` bytes whose bits are set, and touches no other: masked loads, stores and blends.
void ck_vector_model_move(void *target, const void *source, size_t bytes, uint64_t mask);
// VPEXPANDW, VPEXPANDB: the first elements of `source`, in order, to the lanes whose bits are set; zeros elsewhere.
void ck_vector_model_expand16(uint16_t target[_Nonnull 32], const uint16_t source[_Nonnull 32], uint32_t mask);
void ck_vector_model_expand8(uint8_t target[_Nonnull 64], const uint8_t source[_Nonnull 64], uint64_t mask);
// VPERMB; VPERMW and VPERMI2W: lane i is entry index[i] of a table of `entries`, a power of two; higher bits are ignored.
void ck_vector_model_permute8(uint8_t target[_Nonnull 64], const uint8_t index[_Nonnull 64], const uint8_t table[_Nonnull 64]);
void ck_vector_model_permute16(uint16_t target[_Nonnull 32], const uint16_t index[_Nonnull 32], const uint16_t *table,
                               unsigned entries);
// VPMULTISHIFTQB: byte i is the 8 bits of its qword of `source` from bit control[i] on, round the end.
void ck_vector_model_multishift(uint8_t target[_Nonnull 64], const uint8_t control[_Nonnull 64],
                                const uint64_t source[_Nonnull 8]);
// VCVTPH2PS, exact.
void ck_vector_model_f16(float target[_Nonnull 16], const uint16_t source[_Nonnull 16]);
// VCMPPS with any of its 32 predicates.
uint16_t ck_vector_model_compare(const float a[_Nonnull 16], const float b[_Nonnull 16], int predicate);
// VFMADDPS: sum[i] = a[i] * b[i] + sum[i], rounded once.
void ck_vector_model_fma(float sum[_Nonnull 16], const float a[_Nonnull 16], const float b[_Nonnull 16]);
// VRNDSCALEPS to whole numbers, VCVTPS2DQ: to nearest even; what no int32 holds becomes the least one.
void ck_vector_model_round(float values[_Nonnull 16]);
void ck_vector_model_to_integers(int32_t target[_Nonnull 16], const float source[_Nonnull 16]);
// VCVTNE2PS2BF16: 16 of b, then 16 of a, rounded to nearest even; denormals count as 0.
void ck_vector_model_to_bf16(uint16_t target[_Nonnull 32], const float a[_Nonnull 16], const float b[_Nonnull 16]);
// VDPBF16PS: adds the products of a pair of bf16 to each lane, the high element's first, then the low one's, each rounded to
// nearest even; denormals count as 0 and become 0.
void ck_vector_model_dot_bf16(float sum[_Nonnull 16], const uint16_t a[_Nonnull 32], const uint16_t b[_Nonnull 32]);
// VPDPWSSD: adds two products of signed words to each lane; the sum wraps.
void ck_vector_model_dot_s16(uint32_t sum[_Nonnull 16], const int16_t a[_Nonnull 32], const int16_t b[_Nonnull 32]);
// VPDPBUSD: adds four products of unsigned by signed bytes to each lane; the sum wraps.
void ck_vector_model_dot_u8_s8(uint32_t sum[_Nonnull 16], const uint8_t a[_Nonnull 64], const int8_t b[_Nonnull 64]);

#ifdef __cplusplus
}
#endif

#pragma clang assume_nonnull end
