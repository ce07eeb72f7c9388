// The functions that table.c lists.
#pragma once
#include "ck_elementwise.h"

void ck_rms_norm_scalar(size_t n, const float *x, const float *weight, float epsilon, float *y);
void ck_swiglu_scalar(size_t n, float *gate, const float *up);
void ck_add_scalar(size_t n, float *x, const float *delta);

void ck_rms_norm_avx2(size_t n, const float *x, const float *weight, float epsilon, float *y);
void ck_swiglu_avx2(size_t n, float *gate, const float *up);
void ck_add_avx2(size_t n, float *x, const float *delta);
