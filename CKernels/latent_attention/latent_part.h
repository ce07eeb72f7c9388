// Parts whose tokens lie in lanes: what ck_kv_write, ck_kv_read and ck_kv_copy do for them.
#pragma once
#include "ck_attention.h"

static inline int ck_kv_is_latent(ck_kv_type type) { return type == CK_KV_LATENT_BF16; }

void ck_latent_write(ck_kv_type type, size_t dim, void *part, size_t slot, const float *row);
void ck_latent_read(ck_kv_type type, size_t dim, const void *part, size_t slot, float *row);
void ck_latent_copy(ck_kv_type type, size_t dim, const void *from, size_t from_slot, void *to, size_t to_slot);
