// Status codes and instruction-set bits shared by every header of CKernels.
#pragma once
#include <stddef.h>
#include <stdint.h>

#pragma clang assume_nonnull begin

#ifdef __cplusplus
extern "C" {
#endif

typedef enum __attribute__((enum_extensibility(open))) : int32_t {
    CK_OK          = 0,
    CK_ERR_SHAPE   = 1,  // a size is zero, does not fit, or overflows
    CK_ERR_MEMORY  = 2,  // the system refused memory or a thread
    CK_ERR_THREADS = 3,  // a thread count of zero or beyond the limit
    CK_ERR_CORRUPT = 4,  // packed weights whose counts or offsets contradict each other
} ck_status;

// One bit per instruction-set extension that a kernel can need. A variant runs where every bit of its mask is
// present; the scalar reference needs none.
typedef uint32_t ck_isa;
enum {
    CK_ISA_SCALAR      = 0,
    CK_ISA_AVX2        = 1u << 0,  // AVX2, FMA, F16C, BMI1, BMI2, POPCNT
    CK_ISA_AVX512      = 1u << 1,  // AVX-512 F, BW, DQ, VL, CD; implies CK_ISA_AVX2
    CK_ISA_AVX512VBMI  = 1u << 2,
    CK_ISA_AVX512VBMI2 = 1u << 3,  // word and byte expand: bitmap weights
    CK_ISA_AVX512VNNI  = 1u << 4,
    CK_ISA_AVX512BF16  = 1u << 5,
    CK_ISA_AVX512FP16  = 1u << 6,
    CK_ISA_AMXTILE     = 1u << 7,  // with the kernel's permission to use the tile data
    CK_ISA_AMXBF16     = 1u << 8,
    CK_ISA_AMXINT8     = 1u << 9,
    CK_ISA_AVXVNNI     = 1u << 10,  // the VEX form, on CPUs without AVX-512
};

// What this CPU, its operating system and its hypervisor allow, by CPUID and XGETBV, never by model name.
// AMX bits are set only when the kernel has granted permission; asking for it happens here, once, and is harmless
// to repeat. Returns 0 on other architectures.
ck_isa ck_isa_detect(void);

#ifdef __cplusplus
}
#endif

#pragma clang assume_nonnull end
