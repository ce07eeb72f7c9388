// A sparse row becomes bf16, AVX2. Include inside an ISA region, before sparse_expanded.h.
#pragma once
#include "support/expand_avx2.h"
#include "support/expand_words_avx2.h"

CK_INLINE void sparse_expand_row_avx2(const uint16_t *value, const uint32_t *masks, size_t lines, char *row) {
    for (size_t line = 0; line < lines; line++, row += 64) {
        _mm256_store_si256((__m256i *)(void *)row, ck_expand16_avx2(masks[line] & 0xFFFF, &value));
        _mm256_store_si256((__m256i *)(void *)(row + 32), ck_expand16_avx2(masks[line] >> 16, &value));
    }
}
#define EXPAND_ROW sparse_expand_row_avx2
