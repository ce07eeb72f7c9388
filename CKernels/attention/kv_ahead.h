// What a kernel that reads the parts of a span in order asks for while it works. Include inside an ISA region.
#pragma once
#include "attention/kv_rows.h"

typedef struct {
    const ck_kv_span *span;
    size_t part, part_bytes;
    const char *at, *end;
} ck_kv_ahead;

// Begins `distance` bytes after the first part's beginning.
CK_INLINE ck_kv_ahead ck_kv_ahead_begin(const ck_kv_span *span, size_t part_bytes, size_t distance) {
    size_t part = 0;
    for (; distance >= part_bytes && part + 1 < ck_kv_parts(span->tokens); part++) distance -= part_bytes;
    const char *base = span->parts[part];
    return (ck_kv_ahead){span, part, part_bytes, base + (distance < part_bytes ? distance : 0), base + part_bytes};
}

// The next lines in order, into the L2 cache: the few buffers of the L1 cache are left to the loads. After the last part it
// begins again: lines that are near already, which costs next to nothing. A prefetch beyond a part's end is no access.
CK_INLINE void ck_kv_ahead_lines(ck_kv_ahead *ahead, size_t lines) {
    for (size_t i = 0; i < lines; i++) _mm_prefetch(ahead->at + i * 64, _MM_HINT_T1);
    ahead->at += lines * 64;
    if (ahead->at < ahead->end) return;
    if (ahead->part + 1 < ck_kv_parts(ahead->span->tokens)) ahead->part++;
    ahead->at = ahead->span->parts[ahead->part];
    ahead->end = ahead->at + ahead->part_bytes;
}
