// A call whose faults are caught and named.
#pragma once
#include <stdint.h>

typedef void ck_check_body(const void *context);

// Returns NULL, or what the body did wrong: the signal that it raised (*address then says where), a changed floating-point
// control register, or tiles that it left in use.
const char *ck_check_trapped(ck_check_body *body, const void *context, uintptr_t *address);
