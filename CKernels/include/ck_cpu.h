// What the CPU and the operating system say about themselves: the facts behind `Machine` that Swift cannot read alone.
#pragma once
#include "ck.h"

#pragma clang assume_nonnull begin

#ifdef __cplusplus
extern "C" {
#endif

typedef enum __attribute__((enum_extensibility(open))) : int32_t {
    CK_AMX_ABSENT  = 0,  // the CPU, its hypervisor or the kernel version offers none
    CK_AMX_REFUSED = 1,  // the CPU has it; the kernel will not save its state for this process
    CK_AMX_GRANTED = 2,
} ck_amx_permission;

// Asks the kernel once for the right to use AMX tile data; the answer holds for every thread of the process, so ask
// before threads start. Repeating it is harmless.
ck_amx_permission ck_amx_request(void);

typedef struct {
    uint32_t level;  // 1, 2, 3, ...
    uint32_t line_bytes;
    uint64_t bytes;
    uint32_t shared_by;  // logical CPUs that share one instance, an upper bound; at least 1
} ck_cpu_cache;

// The data and unified caches of the CPU that runs the call, by CPUID leaf 4 or 0x8000001D. Returns how many there are
// and writes at most `capacity` of them; 0 where CPUID does not say.
size_t ck_cpu_caches(ck_cpu_cache *_Nullable caches, size_t capacity);

// The vendor ("GenuineIntel"; 13 bytes) and brand string (49 bytes), zero-terminated, empty where CPUID does not say. For
// people and logs.
void ck_cpu_vendor(char *vendor);
void ck_cpu_brand(char *brand);

// The CPUs on which some thread of this process may run, ascending: a thread that pinned itself does not hide the rest.
// Returns how many there are and writes at most `capacity` of them; 0 where the system does not say.
size_t ck_cpu_allowed(int32_t *_Nullable cpus, size_t capacity);

#ifdef __cplusplus
}
#endif

#pragma clang assume_nonnull end
