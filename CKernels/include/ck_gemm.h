// What every linear kernel shares: Y[m x n] = X[m x k] W[n x k]^T (+ bias), W packed in panels of 16 rows.
#pragma once
#include "ck.h"

#pragma clang assume_nonnull begin

#ifdef __cplusplus
extern "C" {
#endif

// A panel is 16 consecutive rows of W. Work is handed out in whole panels.
#define CK_PANEL_ROWS 16u

typedef enum __attribute__((enum_extensibility(open))) : uint32_t {
    CK_BF16  = 0,
    CK_INT8  = 1,
    CK_F32   = 2,
    CK_INT16 = 3,  // of x alone
} ck_type;

// One call, the same for every thread that takes part in it.
//
//   x        m rows of k_padded elements, x_stride bytes apart, 64-byte aligned rows; elements k ... k_padded-1 are 0.
//            bf16 bit patterns, or int8 in -127...127. An int16 row is two rows of int8, its planes: an element is 256 h + l,
//            h in -127...127 from row 2 i of x and l in -128...127 from row 2 i + 1.
//   x_scale  m floats, what one step of an int8 or int16 row of x is worth; ignored (may be NULL) for bf16.
//   bias     n floats or NULL.
//   y        m rows of n elements of y_type (CK_F32 or CK_BF16), y_stride elements apart; must not overlap any input.
//
// k_padded is k rounded up to CK_K_STEP(x type) elements. Rows of x beyond m are not read, elements of y beyond n not written.
typedef struct {
    size_t      m, n, k;
    const void *x;
    size_t      x_stride;
    const float *_Nullable x_scale;
    const float *_Nullable bias;
    void   *y;
    size_t  y_stride;
    ck_type y_type;
} ck_gemm_call;

// K is consumed in steps of one 64-byte tile row: 32 bf16 or 64 int8, in planes too.
static inline size_t ck_k_step(ck_type x_type) { return x_type == CK_BF16 ? 32 : 64; }
static inline size_t ck_x_planes(ck_type x_type) { return x_type == CK_INT16 ? 2 : 1; }
static inline size_t ck_k_padded(size_t k, ck_type x_type) {
    const size_t step = ck_k_step(x_type);
    return (k + step - 1) / step * step;
}
static inline size_t ck_panels(size_t n) { return (n + CK_PANEL_ROWS - 1) / CK_PANEL_ROWS; }

// fp32 or bf16 rows into the padded rows that kernels read. `columns` elements are copied, the rest up to `padded` set to 0.
// ck_x_from_f32 rounds to nearest even; NaN stays NaN.
void ck_x_from_f32(const float *source, size_t columns, size_t padded, uint16_t *target);
void ck_x_from_bf16(const uint16_t *source, size_t columns, size_t padded, uint16_t *target);

// One token quantised symmetrically: target[i] = round(source[i] * 127 / max|source|), ties to even; returns max|source| / 127.
// A row of zeros gives zeros and scale 0. A row that holds NaN or infinity gives zeros and scale NaN, so the output row is NaN.
float ck_x_quantize_f32(const float *source, size_t columns, size_t padded, int8_t *target);
float ck_x_quantize_bf16(const uint16_t *source, size_t columns, size_t padded, int8_t *target);

// The same with 32639 in place of 127, the largest number whose two planes are int8.
float ck_x_quantize16_f32(const float *source, size_t columns, size_t padded, int8_t *high, int8_t *low);
float ck_x_quantize16_bf16(const uint16_t *source, size_t columns, size_t padded, int8_t *high, int8_t *low);

// Some kernels read bf16 rows in another order: in every 8 elements those with even index come first, 0 2 4 6 1 3 5 7.
// ck_x_even_odd is where element i goes; ck_x_to_even_odd reorders a row of `padded` elements, a multiple of 8, in place.
static inline size_t ck_x_even_odd(size_t i) { return (i & ~(size_t)7) | (i & 7) >> 1 | (i & 1) << 2; }
void ck_x_to_even_odd(uint16_t *row, size_t padded);

// The same seven, to the same bits, for wider instruction sets: best first, the functions above last.
typedef struct __attribute__((swift_attr("@Sendable"))) {
    ck_isa isa;
    void (*from_f32)(const float *source, size_t columns, size_t padded, uint16_t *target);
    void (*from_bf16)(const uint16_t *source, size_t columns, size_t padded, uint16_t *target);
    float (*quantize_f32)(const float *source, size_t columns, size_t padded, int8_t *target);
    float (*quantize_bf16)(const uint16_t *source, size_t columns, size_t padded, int8_t *target);
    float (*quantize16_f32)(const float *source, size_t columns, size_t padded, int8_t *high, int8_t *low);
    float (*quantize16_bf16)(const uint16_t *source, size_t columns, size_t padded, int8_t *high, int8_t *low);
    void (*to_even_odd)(uint16_t *row, size_t padded);
} ck_x_converter;

const ck_x_converter *ck_x_converters(size_t *count);

#ifdef __cplusplus
}
#endif

#pragma clang assume_nonnull end
