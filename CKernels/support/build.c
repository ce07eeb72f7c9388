// What only the preprocessor knows about this build.
#include "ck_build.h"

const char *ck_build_compiler(void) { return __VERSION__; }

int ck_build_optimized(void) {
#ifdef __OPTIMIZE__
    return 1;
#else
    return 0;
#endif
}
