// What a kernel that reads the parts of a span in order asks for while it works: the line one part ahead, of the span's own parts
// and then of the one that is read next. Lines go to the L2 cache: the L1 cache has few places for lines that are under way, and
// reads that wait for memory hold them. Include inside an ISA region.
#pragma once
#include "attention/kv_rows.h"

typedef struct {
    const ck_kv_span *span;
    size_t part, part_bytes;
    const char *at, *end;
} ck_kv_ahead;

// Without a next part the last one is asked for again: lines that are near already, which costs next to nothing.
CK_INLINE void ck_kv_ahead_part(ck_kv_ahead *ahead) {
    const ck_kv_span *span = ahead->span;
    const size_t parts = ck_kv_parts(span->tokens);
    ahead->part++;
    if (ahead->part < parts) ahead->at = span->parts[ahead->part];
    else ahead->at = span->next ? span->next : span->parts[parts - 1];
    ahead->end = ahead->at + ahead->part_bytes;
}

CK_INLINE ck_kv_ahead ck_kv_ahead_begin(const ck_kv_span *span, size_t part_bytes) {
    ck_kv_ahead ahead = {.span = span, .part_bytes = part_bytes};
    ck_kv_ahead_part(&ahead);
    return ahead;
}

// A prefetch beyond a part's end is no access.
CK_INLINE void ck_kv_ahead_lines(ck_kv_ahead *ahead, size_t lines) {
    for (size_t i = 0; i < lines; i++) _mm_prefetch(ahead->at + i * 64, _MM_HINT_T1);
    ahead->at += lines * 64;
    if (ahead->at >= ahead->end) ck_kv_ahead_part(ahead);
}
