// Writing, reading and copying single tokens of a sparse part.
#include "attention/sparse_rows.h"
#include <string.h>
#include "support/bf16.h"

// Magnitudes as bf16 without the sign: NaN is above infinity, which is above any number. 16-bit counts make short vector code.
static size_t count_from(const int16_t *magnitudes, size_t dim, int16_t least) {
    uint16_t count = 0;
    for (size_t c = 0; c < dim; c++) count = (uint16_t)(count + (magnitudes[c] >= least));
    return count;
}

// The largest magnitude that at least `kept` elements reach, bit by bit.
static int16_t threshold(const int16_t *magnitudes, size_t dim, size_t kept) {
    int16_t least = 0;
    for (int bit = 0x4000; bit > 0; bit >>= 1)
        if (count_from(magnitudes, dim, (int16_t)(least | bit)) >= kept) least = (int16_t)(least | bit);
    return least;
}

void ck_sparse_write(ck_kv_type type, size_t dim, void *part, size_t slot, const float *row) {
    const size_t kept = ck_sparse_kept(type, dim);
    uint16_t bits[CK_KV_SPARSE_DIM];
    int16_t magnitudes[CK_KV_SPARSE_DIM];
    for (size_t c = 0; c < dim; c++) {
        bits[c] = ck_bf16_from_f32(row[c]);
        magnitudes[c] = (int16_t)(bits[c] & 0x7FFF);
    }
    const int16_t least = threshold(magnitudes, dim, kept);
    // Of those that are no larger than the least that is kept, the first.
    size_t ties = kept;
    for (size_t c = 0; c < dim; c++) ties -= magnitudes[c] > least;
    uint16_t *value = (uint16_t *)ck_sparse_values(type, dim, part, slot);
    uint32_t *masks = (uint32_t *)ck_sparse_masks(type, dim, part, slot);
    memset(masks, 0, ck_sparse_lines(dim) * sizeof *masks);
    for (size_t c = 0; c < dim; c++) {
        if (magnitudes[c] < least || (magnitudes[c] == least && ties == 0)) continue;
        ties -= magnitudes[c] == least;
        *value++ = bits[c];
        masks[c / 32] |= 1u << c % 32;
    }
}

void ck_sparse_read(ck_kv_type type, size_t dim, const void *part, size_t slot, float *row) {
    const uint16_t *value = ck_sparse_values(type, dim, part, slot);
    const uint32_t *masks = ck_sparse_masks(type, dim, part, slot);
    for (size_t c = 0; c < dim; c++) row[c] = masks[c / 32] >> c % 32 & 1 ? ck_bf16_to_f32(*value++) : 0;
}

void ck_sparse_copy(ck_kv_type type, size_t dim, const void *from, size_t from_slot, void *to, size_t to_slot) {
    memcpy((void *)ck_sparse_values(type, dim, to, to_slot), ck_sparse_values(type, dim, from, from_slot),
           ck_sparse_kept(type, dim) * sizeof(uint16_t));
    memcpy((void *)ck_sparse_masks(type, dim, to, to_slot), ck_sparse_masks(type, dim, from, from_slot),
           ck_sparse_lines(dim) * sizeof(uint32_t));
}
