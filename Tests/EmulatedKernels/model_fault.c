#include "model_fault.h"
#include <stddef.h>

static _Thread_local const char *first;

void ck_model_fault(const char *reason) {
    if (!first) first = reason;
}

const char *ck_model_take_fault(void) {
    const char *reason = first;
    first = NULL;
    return reason;
}
