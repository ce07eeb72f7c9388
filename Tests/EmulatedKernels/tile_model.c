// AMX palette 1: eight tiles of at most 16 rows x 64 bytes. Semantics: Intel's instruction set reference.
#include "tile_model.h"
#include <stdbool.h>
#include "dot_model.h"
#include "model_fault.h"

enum { TILES = 8, ROWS = 16, BYTES = 64 };

typedef struct {
    size_t rows, bytes;
    uint8_t row[ROWS][BYTES];
} tile;

static _Thread_local tile tiles[TILES];
static _Thread_local bool configured;

typedef struct {
    uint8_t palette, start_row, reserved[14];
    uint16_t bytes[16];
    uint8_t rows[16];
} tile_config;
_Static_assert(sizeof(tile_config) == 64, "LDTILECFG reads 64 bytes");

static const char *config_fault(const tile_config *config) {
    if (config->palette != 1) return "LDTILECFG: the palette is not 1";
    for (int i = 0; i < 14; i++)
        if (config->reserved[i]) return "LDTILECFG: a reserved byte is not 0";
    for (int i = 0; i < 16; i++) {
        if (i >= TILES && (config->rows[i] || config->bytes[i])) return "LDTILECFG: a shape beyond tile 7";
        if (config->rows[i] > ROWS) return "LDTILECFG: more than 16 rows";
        if (config->bytes[i] > BYTES) return "LDTILECFG: rows of more than 64 bytes";
        if (!config->rows[i] != !config->bytes[i]) return "LDTILECFG: a tile with rows or bytes, but not both";
    }
    return NULL;
}

void ck_tile_model_configure(const void *source) {
    tile_config config;
    memcpy(&config, source, sizeof config);
    const char *fault = config_fault(&config);
    if (fault) {
        ck_model_fault(fault);
        return;
    }
    memset(tiles, 0, sizeof tiles);
    for (int t = 0; t < TILES; t++) {
        tiles[t].rows = config.rows[t];
        tiles[t].bytes = config.bytes[t];
    }
    configured = true;
}

void ck_tile_model_release(void) {
    memset(tiles, 0, sizeof tiles);
    configured = false;
}

static tile *usable(int number) {
    if (number < 0 || number >= TILES) ck_model_fault("there is no such tile");
    else if (!configured) ck_model_fault("tiles are used before they are configured");
    else if (!tiles[number].rows) ck_model_fault("a tile without a shape is used");
    else return &tiles[number];
    return NULL;
}

void ck_tile_model_zero(int number) {
    tile *t = usable(number);
    if (t) memset(t->row, 0, sizeof t->row);
}

void ck_tile_model_load(int number, const void *base, size_t stride) {
    tile *t = usable(number);
    if (!t) return;
    for (size_t row = 0; row < t->rows; row++) memcpy(t->row[row], (const char *)base + row * stride, t->bytes);
}

void ck_tile_model_store(int number, void *base, size_t stride) {
    const tile *t = usable(number);
    if (!t) return;
    for (size_t row = 0; row < t->rows; row++) memcpy((char *)base + row * stride, t->row[row], t->bytes);
}

// The shapes of C[m x n] += A[m x k] B[k x n], with m, n and k in rows and in groups of 4 bytes.
static bool multiplies(int cn, int an, int bn, const tile *c, const tile *a, const tile *b) {
    if (!c || !a || !b) return false;
    const char *fault = NULL;
    if (cn == an || cn == bn || an == bn) fault = "a multiplication names a tile twice";
    else if (c->bytes % 4 || a->bytes % 4 || b->bytes % 4) fault = "a multiplication of rows that are no whole groups of 4 bytes";
    else if (a->rows != c->rows) fault = "a multiplication where A and C have different rows";
    else if (b->bytes != c->bytes) fault = "a multiplication where B and C have different row lengths";
    else if (a->bytes / 4 != b->rows) fault = "a multiplication where the groups of A are not the rows of B";
    if (fault) ck_model_fault(fault);
    return !fault;
}

static uint16_t bf16_at(const tile *t, size_t row, size_t element) {
    uint16_t bits;
    memcpy(&bits, t->row[row] + 2 * element, sizeof bits);
    return bits;
}

// TDPBF16PS: for each output one chain over the even elements and one over the odd, both from 0; their sum is added to C at the
// end.
static float dot_bf16(const tile *a, const tile *b, size_t m, size_t n) {
    float even = 0, odd = 0;
    for (size_t k = 0; k < b->rows; k++) {
        even = ck_model_fma_bf16(even, bf16_at(a, m, 2 * k), bf16_at(b, k, 2 * n));
        odd = ck_model_fma_bf16(odd, bf16_at(a, m, 2 * k + 1), bf16_at(b, k, 2 * n + 1));
    }
    return ck_model_add(even, odd);
}

// TDPBSSD: signed by signed.
static uint32_t dot_int8(const tile *a, const tile *b, size_t m, size_t n) {
    uint32_t sum = 0;
    for (size_t i = 0; i < a->bytes; i++) sum += (uint32_t)((int8_t)a->row[m][i] * (int8_t)b->row[i / 4][4 * n + i % 4]);
    return sum;
}

void ck_tile_model_dot_bf16(int cn, int an, int bn) {
    tile *c = usable(cn), *a = usable(an), *b = usable(bn);
    if (!multiplies(cn, an, bn, c, a, b)) return;
    for (size_t m = 0; m < c->rows; m++)
        for (size_t n = 0; n < c->bytes / 4; n++) {
            float sum;
            memcpy(&sum, c->row[m] + 4 * n, sizeof sum);
            sum = ck_model_add(sum, dot_bf16(a, b, m, n));
            memcpy(c->row[m] + 4 * n, &sum, sizeof sum);
        }
}

void ck_tile_model_dot_int8(int cn, int an, int bn) {
    tile *c = usable(cn), *a = usable(an), *b = usable(bn);
    if (!multiplies(cn, an, bn, c, a, b)) return;
    for (size_t m = 0; m < c->rows; m++)
        for (size_t n = 0; n < c->bytes / 4; n++) {
            uint32_t sum;
            memcpy(&sum, c->row[m] + 4 * n, sizeof sum);
            sum += dot_int8(a, b, m, n);
            memcpy(c->row[m] + 4 * n, &sum, sizeof sum);
        }
}
