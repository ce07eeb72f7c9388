// XXH64: four independent lanes of 8 bytes, so that the multiplier's latency is hidden; integer arithmetic only, the same on
// every CPU. A lane's round is a bijection of its accumulator, so two inputs that differ in one word leave that lane different.
#include "ck_checksum.h"

#include <string.h>

#define PRIME1 0x9E3779B185EBCA87u
#define PRIME2 0xC2B2AE3D27D4EB4Fu
#define PRIME3 0x165667B19E3779F9u
#define PRIME4 0x85EBCA77C2B2AE63u
#define PRIME5 0x27D4EB2F165667C5u

static inline uint64_t rotate(uint64_t x, unsigned bits) { return x << bits | x >> (64 - bits); }

static inline uint64_t read64(const uint8_t *p) {
    uint64_t x;
    memcpy(&x, p, sizeof x);
    return x;
}

static inline uint32_t read32(const uint8_t *p) {
    uint32_t x;
    memcpy(&x, p, sizeof x);
    return x;
}

static inline uint64_t absorb(uint64_t lane, uint64_t word) { return rotate(lane + word * PRIME2, 31) * PRIME1; }

static inline uint64_t merge(uint64_t hash, uint64_t lane) { return (hash ^ absorb(0, lane)) * PRIME1 + PRIME4; }

static uint64_t lanes(const uint8_t *p, size_t stripes) {
    uint64_t a = PRIME1 + PRIME2, b = PRIME2, c = 0, d = 0 - PRIME1;
    for (; stripes > 0; stripes--, p += 32) {
        a = absorb(a, read64(p));
        b = absorb(b, read64(p + 8));
        c = absorb(c, read64(p + 16));
        d = absorb(d, read64(p + 24));
    }
    const uint64_t hash = rotate(a, 1) + rotate(b, 7) + rotate(c, 12) + rotate(d, 18);
    return merge(merge(merge(merge(hash, a), b), c), d);
}

uint64_t ck_xxh64(const void *bytes, size_t count) {
    const uint8_t *p = bytes;
    const uint8_t *end = p + count;
    uint64_t hash = PRIME5;
    if (count >= 32) {
        hash = lanes(p, count / 32);
        p += count / 32 * 32;
    }
    hash += count;
    for (; end - p >= 8; p += 8) hash = rotate(hash ^ absorb(0, read64(p)), 27) * PRIME1 + PRIME4;
    if (end - p >= 4) {
        hash = rotate(hash ^ read32(p) * PRIME1, 23) * PRIME2 + PRIME3;
        p += 4;
    }
    for (; p < end; p++) hash = rotate(hash ^ *p * PRIME5, 11) * PRIME1;
    hash = (hash ^ hash >> 33) * PRIME2;
    hash = (hash ^ hash >> 29) * PRIME3;
    return hash ^ hash >> 32;
}
