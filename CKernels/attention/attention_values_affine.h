// Sums of values in codes of few bits, by a kernel for bf16 values: codes less their zeros are bf16 numbers, and a token's scale
// goes to its p. A chunk is expanded into scratch, where the L2 cache keeps it.
//
// Include inside an ISA region, after EXPAND(part, bits, dim, expanded, next) and KERNEL, the name of the bf16 kernel.
#pragma once
#include "attention/kv_affine.h"

// Scratch: the expanded parts, then p with its scales, then what the kernel needs. Offsets in bytes.
typedef struct {
    size_t p, kernel, end;
} values_affine_layout;

static values_affine_layout values_affine_lay_out(size_t rows, size_t dim) {
    values_affine_layout layout;
    layout.p = CK_ATTENTION_CHUNK / CK_KV_TOKENS * ck_affine_expanded_bytes(dim);
    layout.kernel = layout.p + rows * CK_ATTENTION_CHUNK * sizeof(float);
    layout.end = layout.kernel + KERNEL_SCRATCH(rows, dim);
    return layout;
}

CK_INLINE void values_affine_run(int bits, const ck_kv_span *values, size_t rows, const float *p, size_t p_stride, float *y,
                                 size_t y_stride, void *scratch) {
    const values_affine_layout layout = values_affine_lay_out(rows, values->dim);
    char *room = scratch;
    float *weights = (float *)(void *)(room + layout.p);
    const void *expanded_parts[CK_ATTENTION_CHUNK / CK_KV_TOKENS];
    const size_t parts = ck_kv_parts(values->tokens);
    for (size_t i = 0; i < parts; i++) {
        const char *next = i + 1 < parts ? values->parts[i + 1] : values->next ? values->next : values->parts[i];
        char *target = room + i * ck_affine_expanded_bytes(values->dim);
        EXPAND(values->parts[i], bits, values->dim, target, next);
        expanded_parts[i] = target;
        const float *scales = ck_affine_scales((size_t)bits, values->dim, values->parts[i]);
        const size_t first = i * CK_KV_TOKENS, tokens = ck_kv_part_tokens(values, i);
        for (size_t row = 0; row < rows; row++) {
            const float *from = p + row * p_stride + first;
            float *to = weights + row * CK_ATTENTION_CHUNK + first;
            for (size_t t = 0; t < tokens; t++) to[t] = from[t] * scales[t];
            for (size_t t = tokens; t < CK_KV_TOKENS; t++) to[t] = 0;
        }
    }
    const ck_kv_span expanded = {expanded_parts, values->tokens, values->dim, NULL};
    KERNEL(&expanded, rows, weights, CK_ATTENTION_CHUNK, y, y_stride, room + layout.kernel);
}

#define VALUES_AFFINE(bits, isa)                                                                                                 \
    size_t ck_attention_values_affine##bits##_##isa##_scratch(size_t rows, size_t dim) {                                         \
        return values_affine_lay_out(rows, dim).end;                                                                             \
    }                                                                                                                            \
    void ck_attention_values_affine##bits##_##isa(const ck_kv_span *values, size_t rows, const float *p, size_t p_stride,        \
                                                  float *y, size_t y_stride, void *scratch) {                                    \
        values_affine_run(bits, values, rows, p, p_stride, y, y_stride, scratch);                                                \
    }
