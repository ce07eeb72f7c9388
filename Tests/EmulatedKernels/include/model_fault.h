// What a processor answers with a fault, the models note down: they do nothing, and keep the reason for the calling thread.
#pragma once

#pragma clang assume_nonnull begin

#ifdef __cplusplus
extern "C" {
#endif

void ck_model_fault(const char *reason);

// The first reason since the last call on this thread, or NULL.
const char *_Nullable ck_model_take_fault(void);

#ifdef __cplusplus
}
#endif

#pragma clang assume_nonnull end
