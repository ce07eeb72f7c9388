// Checksums of packed files.
#pragma once
#include "ck.h"

#pragma clang assume_nonnull begin

#ifdef __cplusplus
extern "C" {
#endif

// XXH64 with seed 0 of `count` bytes at any alignment: Yann Collet, "xxHash fast digest algorithm", version 0.2.0.
uint64_t ck_xxh64(const void *bytes, size_t count);

#ifdef __cplusplus
}
#endif

#pragma clang assume_nonnull end
