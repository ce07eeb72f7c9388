// The C half of KernelChecks: an oracle in double precision, and kernel calls whose faults are caught and named.
#pragma once
#include "ck_attention.h"
#include "ck_bitmap_gemm.h"
#include "ck_code4_gemm.h"
#include "ck_dense_gemm.h"
#include "ck_latent_attention.h"

#pragma clang assume_nonnull begin

#ifdef __cplusplus
extern "C" {
#endif

// For every row of x[m x k] and of w[n x k], both dense and row-major: sum of x w, and of |x w|, in order of k.
void ck_check_dot(const float *x, const float *w, size_t m, size_t n, size_t k, double *sum, double *magnitude);
// The same with x in double.
void ck_check_dot_f64(const double *x, const float *w, size_t m, size_t n, size_t k, double *sum, double *magnitude);
// The same sums of int8, exact.
void ck_check_dot_int8(const int8_t *x, const int8_t *w, size_t m, size_t n, size_t k, int64_t *sum);

// Calls a kernel. Returns NULL, or what it did wrong: the signal that it raised (*address then says where), a changed
// floating-point control register, or, where the processor tells, tiles left in use.
const char *_Nullable ck_check_run_dense(const ck_dense_gemm_variant *variant, const ck_gemm_call *call,
                                         const ck_dense_weights *w, size_t panel_begin, size_t panel_end, void *_Nullable scratch,
                                         uintptr_t *address);
const char *_Nullable ck_check_run_bitmap(const ck_bitmap_gemm_variant *variant, const ck_gemm_call *call,
                                          const ck_bitmap_weights *w, size_t panel_begin, size_t panel_end,
                                          void *_Nullable scratch, uintptr_t *address);
const char *_Nullable ck_check_run_code4(const ck_code4_gemm_variant *variant, const ck_gemm_call *call,
                                         const ck_code4_weights *w, size_t panel_begin, size_t panel_end, void *_Nullable scratch,
                                         uintptr_t *address);
const char *_Nullable ck_check_run_latent_keys(const ck_latent_keys_variant *variant, const ck_latent_group *group,
                                               const ck_latent_angles *angles, const ck_kv_span *latents,
                                               const ck_attention_queries *queries, float *scores, size_t stride,
                                               void *_Nullable scratch, uintptr_t *address);
const char *_Nullable ck_check_run_attention_keys(const ck_attention_keys_variant *variant, const ck_kv_span *keys,
                                                  const ck_attention_queries *queries, float *scores, size_t stride,
                                                  void *_Nullable scratch, uintptr_t *address);
const char *_Nullable ck_check_run_attention_values(const ck_attention_values_variant *variant, const ck_kv_span *values,
                                                    size_t rows, const float *p, size_t p_stride, float *y, size_t y_stride,
                                                    void *_Nullable scratch, uintptr_t *address);
const char *_Nullable ck_check_run_attention_softmax(const ck_attention_softmax_variant *variant,
                                                     const ck_attention_softmax_call *call, uintptr_t *address);

// Loads a tile and leaves it: what the checks have to notice. Needs AMX and its permission.
void ck_check_use_tiles(void);

#ifdef __cplusplus
}
#endif

#pragma clang assume_nonnull end
