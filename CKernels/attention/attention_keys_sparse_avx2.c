// Scores of sparse keys, AVX2: rows are expanded into scratch, and the kernel for bf16 keys takes them from there.
#include "attention/sparse_rows.h"
#include "support/isa.h"

#if CK_X86
size_t ck_attention_keys_bf16_avx2_scratch(size_t rows, size_t dim);
void ck_attention_keys_bf16_avx2(const ck_kv_span *keys, const ck_attention_queries *queries, float *scores, size_t stride,
                                 void *scratch);

CK_ISA_BEGIN(avx2)
#include "attention/sparse_expanded_avx2.h"

size_t ck_attention_keys_sparse_avx2_scratch(size_t rows, size_t dim) {
    return sparse_expanded_bytes(dim) + ck_attention_keys_bf16_avx2_scratch(rows, dim);
}

CK_INLINE void run(ck_kv_type type, const ck_kv_span *keys, const ck_attention_queries *queries, float *scores, size_t stride,
                   char *scratch) {
    const void *parts[SPARSE_PARTS];
    const ck_kv_span expanded = sparse_expand(type, keys, parts, scratch);
    ck_attention_keys_bf16_avx2(&expanded, queries, scores, stride, scratch + sparse_expanded_bytes(keys->dim));
}

void ck_attention_keys_sparse50_avx2(const ck_kv_span *keys, const ck_attention_queries *queries, float *scores, size_t stride,
                                     void *scratch) {
    run(CK_KV_SPARSE50, keys, queries, scores, stride, scratch);
}

void ck_attention_keys_sparse70_avx2(const ck_kv_span *keys, const ck_attention_queries *queries, float *scores, size_t stride,
                                     void *scratch) {
    run(CK_KV_SPARSE70, keys, queries, scores, stride, scratch);
}

CK_ISA_END
#endif
