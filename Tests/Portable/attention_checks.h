// Attention's kernels against exact integer results. Returns how many were compared; exits with 1 where one differs.
#pragma once
#include <stddef.h>

size_t check_attention(void);
