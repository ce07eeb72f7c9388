// How the kernels were compiled, for reports.
#pragma once
#include "ck.h"

#pragma clang assume_nonnull begin

#ifdef __cplusplus
extern "C" {
#endif

// The compiler's own name and version.
const char *ck_build_compiler(void);
// 1 when it optimised.
int ck_build_optimized(void);

#ifdef __cplusplus
}
#endif

#pragma clang assume_nonnull end
