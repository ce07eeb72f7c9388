// Reading patterns, each a loop of loads and additions. Which one draws most from the memory depends on the core's prefetchers,
// so a roofline tries them all.
#include "ck_read.h"
#include "support/isa.h"
#include "support/prefetch.h"

enum { BLOCK_BYTES = 256 };  // of one stream before the next has its turn: four cache lines, so that the sums stay independent

CK_INLINE void prefetch_line(const char *line, int prefetch) {
    if (prefetch) __builtin_prefetch(line + CK_PREFETCH_BYTES, 0, 3);
}

static uint64_t sum_words(const char *memory, size_t bytes) {
    uint64_t sum = 0;
    for (size_t i = 0; i + 8 <= bytes; i += 8) {
        uint64_t word;
        memcpy(&word, memory + i, 8);
        sum += word;
    }
    return sum;
}

// Streams begin `share` bytes apart; what whole blocks leave over comes at the end.
CK_INLINE size_t stream_share(size_t bytes, size_t streams) { return bytes / streams / BLOCK_BYTES * BLOCK_BYTES; }

#define READ_PATTERNS(isa)                                                                                                       \
    static uint64_t isa##_1(const void *memory, size_t bytes) { return read_##isa(memory, bytes, 1, 0); }                        \
    static uint64_t isa##_1_prefetch(const void *memory, size_t bytes) { return read_##isa(memory, bytes, 1, 1); }               \
    static uint64_t isa##_4(const void *memory, size_t bytes) { return read_##isa(memory, bytes, 4, 0); }                        \
    static uint64_t isa##_4_prefetch(const void *memory, size_t bytes) { return read_##isa(memory, bytes, 4, 1); }

#if CK_X86
CK_ISA_BEGIN(avx512)

CK_INLINE uint64_t read_avx512(const char *memory, size_t bytes, const size_t streams, const int prefetch) {
    const size_t share = stream_share(bytes, streams);
    __m512i sum[4] = {_mm512_setzero_si512(), _mm512_setzero_si512(), _mm512_setzero_si512(), _mm512_setzero_si512()};
    for (size_t i = 0; i < share; i += BLOCK_BYTES) {
        CK_UNROLL
        for (size_t stream = 0; stream < streams; stream++) {
            const char *block = memory + stream * share + i;
            CK_UNROLL
            for (int line = 0; line < 4; line++) {
                prefetch_line(block + line * 64, prefetch);
                sum[line] = _mm512_add_epi64(sum[line], _mm512_loadu_si512(block + line * 64));
            }
        }
    }
    const __m512i total = _mm512_add_epi64(_mm512_add_epi64(sum[0], sum[1]), _mm512_add_epi64(sum[2], sum[3]));
    return (uint64_t)_mm512_reduce_add_epi64(total) + sum_words(memory + streams * share, bytes - streams * share);
}
READ_PATTERNS(avx512)

CK_ISA_END
CK_ISA_BEGIN(avx2)

CK_INLINE uint64_t read_avx2(const char *memory, size_t bytes, const size_t streams, const int prefetch) {
    const size_t share = stream_share(bytes, streams);
    __m256i sum[8];
    CK_UNROLL
    for (int i = 0; i < 8; i++) sum[i] = _mm256_setzero_si256();
    for (size_t i = 0; i < share; i += BLOCK_BYTES) {
        CK_UNROLL
        for (size_t stream = 0; stream < streams; stream++) {
            const char *block = memory + stream * share + i;
            CK_UNROLL
            for (int half = 0; half < 8; half++) {
                if (half % 2 == 0) prefetch_line(block + half * 32, prefetch);
                sum[half] = _mm256_add_epi64(sum[half], _mm256_loadu_si256((const __m256i *)(block + half * 32)));
            }
        }
    }
    uint64_t words[4], total = sum_words(memory + streams * share, bytes - streams * share);
    CK_UNROLL
    for (int i = 1; i < 8; i++) sum[0] = _mm256_add_epi64(sum[0], sum[i]);
    _mm256_storeu_si256((__m256i *)words, sum[0]);
    for (int i = 0; i < 4; i++) total += words[i];
    return total;
}
READ_PATTERNS(avx2)

CK_ISA_END
#endif

CK_INLINE uint64_t read_scalar(const char *memory, size_t bytes, const size_t streams, const int prefetch) {
    const size_t share = stream_share(bytes, streams);
    uint64_t total = sum_words(memory + streams * share, bytes - streams * share);
    for (size_t i = 0; i < share; i += BLOCK_BYTES)
        for (size_t stream = 0; stream < streams; stream++) {
            const char *block = memory + stream * share + i;
            for (int line = 0; line < 4; line++) prefetch_line(block + line * 64, prefetch);
            total += sum_words(block, BLOCK_BYTES);
        }
    return total;
}
READ_PATTERNS(scalar)

#define READ_ROWS(tag, isa)                                                                                                      \
    {"read_" #tag "_1_stream", #tag, isa, 1, 0, tag##_1},                                                                        \
        {"read_" #tag "_1_stream_prefetch", #tag, isa, 1, 1, tag##_1_prefetch},                                                  \
        {"read_" #tag "_4_streams", #tag, isa, 4, 0, tag##_4},                                                                   \
        {"read_" #tag "_4_streams_prefetch", #tag, isa, 4, 1, tag##_4_prefetch},

static const ck_read_pattern table[] = {
#if CK_X86
    READ_ROWS(avx512, CK_ISA_AVX512) READ_ROWS(avx2, CK_ISA_AVX2)
#endif
        READ_ROWS(scalar, CK_ISA_SCALAR)};

const ck_read_pattern *ck_read_patterns(size_t *count) {
    *count = sizeof table / sizeof *table;
    return table;
}
