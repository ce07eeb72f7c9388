// CPU features by CPUID and XGETBV, and the kernel's permission for AMX.
#include "ck_cpu.h"

#include <stdbool.h>
#include <string.h>

#if defined(__x86_64__)

#include <cpuid.h>

#if defined(__linux__)
#include <sys/syscall.h>
#include <unistd.h>
#endif

typedef struct {
    uint32_t eax, ebx, ecx, edx;
} cpuid_leaf;

// All zeros beyond the highest leaf: an absent leaf then reads as absent features.
static cpuid_leaf read_leaf(uint32_t leaf, uint32_t subleaf) {
    cpuid_leaf r = {0, 0, 0, 0};
    if (leaf > __get_cpuid_max(leaf & 0x80000000u, NULL)) return r;
    __cpuid_count(leaf, subleaf, r.eax, r.ebx, r.ecx, r.edx);
    return r;
}

static bool all(uint64_t word, uint64_t mask) { return (word & mask) == mask; }
static uint32_t bit(unsigned index) { return 1u << index; }

// The register state that the operating system saves; 0 when it does not use XSAVE.
static uint64_t saved_state(void) {
    const uint32_t osxsave = bit(27);
    if (!all(read_leaf(1, 0).ecx, osxsave)) return 0;
    uint32_t low, high;
    __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return (uint64_t)high << 32 | low;
}

enum : uint64_t {
    STATE_AVX = 0x6,      // SSE, AVX
    STATE_AVX512 = 0xE6,  // and opmask, ZMM_Hi256, Hi16_ZMM
    STATE_AMX = 0x60000,  // TILECFG, TILEDATA
};

static bool has_amx_tile(const cpuid_leaf *leaf7) {
    return all(leaf7->edx, bit(24)) && all(saved_state(), STATE_AVX512 | STATE_AMX);
}

ck_amx_permission ck_amx_request(void) {
    const cpuid_leaf leaf7 = read_leaf(7, 0);
    if (!has_amx_tile(&leaf7)) return CK_AMX_ABSENT;
#if defined(__linux__)
    enum { GET_SUPPORTED = 0x1021, GET_PERMITTED = 0x1022, REQUEST = 0x1023, TILEDATA = 18 };
    uint64_t supported = 0, permitted = 0;
    if (syscall(SYS_arch_prctl, GET_SUPPORTED, &supported) != 0 || !all(supported, STATE_AMX)) return CK_AMX_ABSENT;
    if (syscall(SYS_arch_prctl, GET_PERMITTED, &permitted) == 0 && all(permitted, 1u << TILEDATA)) return CK_AMX_GRANTED;
    // The request takes the number of the state component, not a mask.
    if (syscall(SYS_arch_prctl, REQUEST, (unsigned long)TILEDATA) != 0) return CK_AMX_REFUSED;
    permitted = 0;
    if (syscall(SYS_arch_prctl, GET_PERMITTED, &permitted) != 0 || !all(permitted, 1u << TILEDATA)) return CK_AMX_REFUSED;
    return CK_AMX_GRANTED;
#else
    return CK_AMX_REFUSED;
#endif
}

ck_isa ck_isa_detect(void) {
    const cpuid_leaf leaf1 = read_leaf(1, 0), leaf7 = read_leaf(7, 0);
    const cpuid_leaf none = {0, 0, 0, 0};
    const cpuid_leaf leaf7_1 = leaf7.eax >= 1 ? read_leaf(7, 1) : none;
    const uint64_t state = saved_state();
    ck_isa isa = CK_ISA_SCALAR;

    const uint32_t fma = bit(12), popcnt = bit(23), avx = bit(28), f16c = bit(29);
    const uint32_t bmi1 = bit(3), avx2 = bit(5), bmi2 = bit(8);
    if (!all(state, STATE_AVX) || !all(leaf1.ecx, fma | popcnt | avx | f16c) || !all(leaf7.ebx, bmi1 | avx2 | bmi2)) return isa;
    isa |= CK_ISA_AVX2;
    if (leaf7_1.eax & bit(4)) isa |= CK_ISA_AVXVNNI;

    const uint32_t f = bit(16), dq = bit(17), cd = bit(28), bw = bit(30), vl = bit(31);
    if (!all(state, STATE_AVX512) || !all(leaf7.ebx, f | dq | cd | bw | vl)) return isa;
    isa |= CK_ISA_AVX512;
    if (leaf7.ecx & bit(1)) isa |= CK_ISA_AVX512VBMI;
    if (leaf7.ecx & bit(6)) isa |= CK_ISA_AVX512VBMI2;
    if (leaf7.ecx & bit(11)) isa |= CK_ISA_AVX512VNNI;
    if (leaf7_1.eax & bit(5)) isa |= CK_ISA_AVX512BF16;
    if (leaf7.edx & bit(23)) isa |= CK_ISA_AVX512FP16;

    if (ck_amx_request() != CK_AMX_GRANTED) return isa;
    isa |= CK_ISA_AMXTILE;
    if (leaf7.edx & bit(22)) isa |= CK_ISA_AMXBF16;
    if (leaf7.edx & bit(25)) isa |= CK_ISA_AMXINT8;
    return isa;
}

void ck_cpu_vendor(char *vendor) {
    const cpuid_leaf leaf0 = read_leaf(0, 0);
    memcpy(vendor, &leaf0.ebx, 4);
    memcpy(vendor + 4, &leaf0.edx, 4);
    memcpy(vendor + 8, &leaf0.ecx, 4);
    vendor[12] = '\0';
}

void ck_cpu_brand(char *brand) {
    for (uint32_t part = 0; part < 3; part++) {
        const cpuid_leaf leaf = read_leaf(0x80000002u + part, 0);
        memcpy(brand + 16 * part, &leaf, 16);
    }
    brand[48] = '\0';
}

// AMD describes its caches in leaf 0x8000001D where it has the topology extensions, Intel in leaf 4; the registers
// have one layout:
//
//   eax[4:0] type (0 none, 1 data, 2 instruction, 3 unified)   eax[7:5] level   eax[25:14] sharing CPUs - 1
//   ebx[11:0] line - 1   ebx[21:12] partitions - 1   ebx[31:22] ways - 1   ecx sets - 1
static uint32_t cache_leaf(void) {
    const uint32_t topology_extensions = bit(22);
    if (read_leaf(0x80000001u, 0).ecx & topology_extensions) return 0x8000001Du;
    return 4;
}

size_t ck_cpu_caches(ck_cpu_cache *caches, size_t capacity) {
    enum { DATA = 1, UNIFIED = 3, MOST_SUBLEAVES = 16 };
    const uint32_t leaf = cache_leaf();
    size_t count = 0;
    for (uint32_t subleaf = 0; subleaf < MOST_SUBLEAVES; subleaf++) {
        const cpuid_leaf r = read_leaf(leaf, subleaf);
        const uint32_t type = r.eax & 31;
        if (type == 0) break;
        if (type != DATA && type != UNIFIED) continue;
        const uint64_t line = (r.ebx & 0xFFF) + 1, partitions = (r.ebx >> 12 & 0x3FF) + 1, ways = (r.ebx >> 22) + 1;
        if (count < capacity) {
            caches[count] = (ck_cpu_cache){
                .level = r.eax >> 5 & 7,
                .line_bytes = (uint32_t)line,
                .bytes = line * partitions * ways * ((uint64_t)r.ecx + 1),
                .shared_by = (r.eax >> 14 & 0xFFF) + 1,
            };
        }
        count++;
    }
    return count;
}

#else

ck_isa ck_isa_detect(void) { return CK_ISA_SCALAR; }
ck_amx_permission ck_amx_request(void) { return CK_AMX_ABSENT; }
void ck_cpu_vendor(char *vendor) { memset(vendor, 0, 13); }
void ck_cpu_brand(char *brand) { memset(brand, 0, 49); }

size_t ck_cpu_caches(ck_cpu_cache *caches, size_t capacity) {
    (void)caches;
    (void)capacity;
    return 0;
}

#endif
