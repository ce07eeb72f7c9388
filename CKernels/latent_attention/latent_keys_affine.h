// Scores of keys rebuilt from latents in codes of few bits, by a kernel for bf16 latents: codes less their zeros are bf16
// numbers. A chunk is expanded into scratch, where the L2 cache keeps it, and each token's scores are multiplied with its scale:
//
//     q . R (B scale (code - zero) + bias)  =  scale (q . R B (code - zero))  +  q . R bias
//
// The second sum, where there is a bias, is what the kernel makes of a latent of one zero.
//
// Include inside an ISA region, after EXPAND(part, bits, dim, expanded, next) and KERNEL, the name of the bf16 kernel.
#pragma once
#include "attention/kv_affine.h"
#include "latent_attention/latent_layout.h"
#include "support/room.h"

typedef struct {
    const void *parts[CK_ATTENTION_CHUNK / CK_KV_TOKENS];
    char *expanded, *nothing;  // rows of the chunk; zeros for B and for the latents of a bias
    float *constants;          // scores of a bias
    char *kernel;
} latent_affine_room;

static ck_latent_group latent_bias_alone(const ck_latent_group *group, const void *zeros) {
    ck_latent_group alone = *group;
    alone.rank = 1;
    alone.b = zeros;
    return alone;
}

static size_t latent_affine_lay_out(const ck_latent_group *group, size_t rows, void *scratch, latent_affine_room *room) {
    const ck_latent_group alone = latent_bias_alone(group, NULL);
    const size_t part = ck_kv_part_bytes(CK_KV_LATENT_BF16, 1), b = ck_latent_packed_bytes(&alone);
    ck_room at = {scratch, 0};
    room->expanded = ck_room_take(&at, CK_ATTENTION_CHUNK / CK_KV_TOKENS * ck_affine_expanded_bytes(group->rank));
    room->nothing = ck_room_take(&at, group->bias ? part > b ? part : b : 0);
    room->constants = ck_room_take(&at, group->bias ? rows * CK_ATTENTION_CHUNK * sizeof(float) : 0);
    room->kernel = ck_room_take(&at, KERNEL_SCRATCH(group, rows));
    return at.bytes;
}

CK_INLINE void latent_affine_run(int bits, const ck_latent_group *group, const ck_latent_angles *angles,
                                 const ck_kv_span *latents, const ck_attention_queries *queries, float *scores, size_t stride,
                                 void *scratch) {
    latent_affine_room room;
    latent_affine_lay_out(group, queries->rows, scratch, &room);
    const size_t parts = ck_kv_parts(latents->tokens);
    for (size_t i = 0; i < parts; i++) {
        const char *next = i + 1 < parts ? latents->parts[i + 1] : latents->next ? latents->next : latents->parts[i];
        char *target = room.expanded + i * ck_affine_expanded_bytes(group->rank);
        EXPAND(latents->parts[i], bits, group->rank, target, next);
        room.parts[i] = target;
    }
    ck_latent_group plain = *group;
    plain.bias = NULL;
    const ck_kv_span expanded = {room.parts, latents->tokens, latents->dim, NULL};
    KERNEL(&plain, angles, &expanded, queries, scores, stride, room.kernel);
    for (size_t i = 0; i < parts; i++) {
        const float *scales = ck_affine_scales((size_t)bits, group->rank, latents->parts[i]);
        const size_t first = i * CK_KV_TOKENS, tokens = ck_kv_part_tokens(latents, i);
        for (size_t row = 0; row < queries->rows; row++) {
            float *at = scores + row * stride + first;
            for (size_t t = 0; t < tokens; t++) at[t] *= scales[t];
        }
    }
    if (!group->bias) return;
    const ck_latent_group alone = latent_bias_alone(group, room.nothing);
    const size_t part = ck_kv_part_bytes(CK_KV_LATENT_BF16, 1), b = ck_latent_packed_bytes(&alone);
    memset(room.nothing, 0, part > b ? part : b);
    for (size_t i = 0; i < parts; i++) room.parts[i] = room.nothing;
    const ck_kv_span zeros = {room.parts, latents->tokens, 1, NULL};
    KERNEL(&alone, angles, &zeros, queries, room.constants, CK_ATTENTION_CHUNK, room.kernel);
    for (size_t row = 0; row < queries->rows; row++)
        for (size_t t = 0; t < latents->tokens; t++) scores[row * stride + t] += room.constants[row * CK_ATTENTION_CHUNK + t];
}

#define LATENT_AFFINE(bits, isa)                                                                                                 \
    size_t ck_latent_keys_affine##bits##_##isa##_scratch(const ck_latent_group *group, size_t rows) {                            \
        latent_affine_room room;                                                                                                 \
        return latent_affine_lay_out(group, rows, NULL, &room);                                                                  \
    }                                                                                                                            \
    void ck_latent_keys_affine##bits##_##isa(const ck_latent_group *group, const ck_latent_angles *angles,                       \
                                             const ck_kv_span *latents, const ck_attention_queries *queries, float *scores,      \
                                             size_t stride, void *scratch) {                                                     \
        latent_affine_run(bits, group, angles, latents, queries, scores, stride, scratch);                                       \
    }
