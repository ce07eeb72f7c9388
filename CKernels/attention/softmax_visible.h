// Which tokens of a chunk a row of queries sees.
#pragma once
#include "ck_attention.h"

// Tokens from the first on that are not beyond the row's last position.
static inline size_t ck_softmax_visible(const ck_attention_softmax_call *call, size_t row) {
    const size_t end = call->visible[row];
    if (end <= call->first) return 0;
    return end - call->first < call->tokens ? end - call->first : call->tokens;
}

// Bit i: whether the row sees token `token` + i by its tree, i = 0...31. Positions outside the tree's 64 are not its business.
static inline uint32_t ck_softmax_tree(const ck_attention_softmax_call *call, size_t row, size_t token) {
    if (!call->tree) return UINT32_MAX;
    const size_t position = call->first + token;
    if (position + 32 <= call->tree_first || position >= call->tree_first + 64) return UINT32_MAX;
    if (position >= call->tree_first) {
        const size_t shift = position - call->tree_first;
        const uint64_t beyond = shift == 0 ? 0 : UINT64_MAX << (64 - shift);
        return (uint32_t)(call->tree[row] >> shift | beyond);
    }
    const size_t before = call->tree_first - position;
    return (uint32_t)(call->tree[row] << before | ((UINT64_C(1) << before) - 1));
}
