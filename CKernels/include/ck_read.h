// Loops that read memory and do next to nothing with it: the roofline that kernels are measured against.
#pragma once
#include "ck.h"

#pragma clang assume_nonnull begin

#ifdef __cplusplus
extern "C" {
#endif

typedef struct __attribute__((swift_attr("@Sendable"))) {
    const char *name;     // "read_avx512_4_streams_prefetch"; all fields below are in it
    const char *isa_tag;  // "scalar", "avx2", "avx512"
    ck_isa      isa;
    uint32_t    streams;   // places of the memory that are read in turn
    uint32_t    prefetch;  // 1: asks for lines ahead of the loads
    // The sum, modulo 2^64, of the 64-bit words of `bytes` bytes, a multiple of 8. The same for every pattern.
    uint64_t (*run)(const void *memory, size_t bytes);
} ck_read_pattern;

// Widest vectors first; the scalar ones are last and need nothing.
const ck_read_pattern *ck_read_patterns(size_t *count);

#ifdef __cplusplus
}
#endif

#pragma clang assume_nonnull end
