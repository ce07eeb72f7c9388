// Writing, reading and copying single tokens of a part.
#include "attention/kv_affine.h"
#include "attention/kv_rows.h"
#include "attention/razer_rows.h"
#include "attention/sparse_rows.h"
#include "ck_gemm.h"
#include "latent_attention/latent_part.h"
#include "support/bf16.h"

size_t ck_kv_part_bytes(ck_kv_type type, size_t dim) {
    if (dim == 0 || dim > SIZE_MAX / (4 * CK_KV_TOKENS)) return 0;
    if (ck_kv_is_affine(type)) return ck_affine_part_bytes(ck_affine_bits(type), dim);
    switch (type) {
    case CK_KV_BF16:
    case CK_KV_LATENT_BF16: return CK_KV_TOKENS * ck_kv_row_bytes(type, dim);
    case CK_KV_INT8: return CK_KV_TOKENS * (ck_kv_row_bytes(type, dim) + sizeof(float));
    case CK_KV_RAZER_KEYS:
    case CK_KV_RAZER_VALUES: return ck_razer_part_bytes(type, dim);
    case CK_KV_SPARSE50:
    case CK_KV_SPARSE70: return dim <= CK_KV_SPARSE_DIM ? ck_sparse_part_bytes(type, dim) : 0;
    default: return 0;
    }
}

void ck_kv_write(ck_kv_type type, size_t dim, void *part, size_t slot, const float *row) {
    if (ck_kv_is_affine(type)) return ck_affine_write(type, dim, part, slot, row);
    if (ck_kv_is_latent(type)) return ck_latent_write(type, dim, part, slot, row);
    if (ck_kv_is_razer(type)) return ck_razer_write(type, dim, part, slot, row);
    if (ck_kv_is_sparse(type)) return ck_sparse_write(type, dim, part, slot, row);
    void *target = (void *)ck_kv_row(type, dim, part, slot);
    const size_t padded = ck_kv_row_bytes(type, dim);
    if (type == CK_KV_INT8) ((float *)ck_kv_scales(dim, part))[slot] = ck_x_quantize_f32(row, dim, padded, target);
    else ck_x_from_f32(row, dim, padded / 2, target);
}

float ck_kv_scale(ck_kv_type type, size_t dim, const void *part, size_t slot, size_t channel) {
    if (ck_kv_is_razer(type)) return ck_razer_scale(type, dim, part, slot, channel);
    return type == CK_KV_INT8 ? ck_kv_scales(dim, part)[slot] : 1;
}

void ck_kv_read(ck_kv_type type, size_t dim, const void *part, size_t slot, float *row) {
    if (ck_kv_is_affine(type)) return ck_affine_read(type, dim, part, slot, row);
    if (ck_kv_is_latent(type)) return ck_latent_read(type, dim, part, slot, row);
    if (ck_kv_is_razer(type)) return ck_razer_read(type, dim, part, slot, row);
    if (ck_kv_is_sparse(type)) return ck_sparse_read(type, dim, part, slot, row);
    const void *source = ck_kv_row(type, dim, part, slot);
    if (type == CK_KV_INT8) {
        const float scale = ck_kv_scales(dim, part)[slot];
        for (size_t c = 0; c < dim; c++) row[c] = scale * (float)((const int8_t *)source)[c];
    } else {
        for (size_t c = 0; c < dim; c++) row[c] = ck_bf16_to_f32(((const uint16_t *)source)[c]);
    }
}

void ck_kv_copy(ck_kv_type type, size_t dim, const void *from, size_t from_slot, void *to, size_t to_slot) {
    if (ck_kv_is_affine(type)) return ck_affine_copy(type, dim, from, from_slot, to, to_slot);
    if (ck_kv_is_latent(type)) return ck_latent_copy(type, dim, from, from_slot, to, to_slot);
    if (ck_kv_is_razer(type)) return ck_razer_copy(type, dim, from, from_slot, to, to_slot);
    if (ck_kv_is_sparse(type)) return ck_sparse_copy(type, dim, from, from_slot, to, to_slot);
    memcpy((void *)ck_kv_row(type, dim, to, to_slot), ck_kv_row(type, dim, from, from_slot), ck_kv_row_bytes(type, dim));
    if (type == CK_KV_INT8) ((float *)ck_kv_scales(dim, to))[to_slot] = ck_kv_scales(dim, from)[from_slot];
}
