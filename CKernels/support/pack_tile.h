// Rows of W on their way into a panel, shared by the packers.
#pragma once
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include "ck_gemm.h"

// 64 bytes of each of 16 rows, 32 bf16 or 64 int8: what becomes one AMX B tile.
#define CK_TILE_BYTES 64u
#define CK_TILE_WORDS (CK_TILE_BYTES / sizeof(uint32_t))

static inline size_t ck_panel_rows(size_t panel, size_t n) {
    const size_t left = n - panel * CK_PANEL_ROWS;
    return left < CK_PANEL_ROWS ? left : CK_PANEL_ROWS;
}

// Copies `bytes` bytes of `rows` rows, `stride` bytes apart, with zeros for what a whole tile has more. A row's 64 bytes are
// taken at once: with K a power of two, 16 rows share a few sets of the cache, and lines that are left half read are gone when
// their second half is wanted.
static inline void ck_tile_load(const char *rows_at, size_t stride, size_t rows, size_t bytes,
                                uint32_t tile[CK_PANEL_ROWS][CK_TILE_WORDS]) {
    if (rows == CK_PANEL_ROWS && bytes == CK_TILE_BYTES) {
        for (size_t row = 0; row < CK_PANEL_ROWS; row++) memcpy(tile[row], rows_at + row * stride, CK_TILE_BYTES);
        return;
    }
    memset(tile, 0, CK_PANEL_ROWS * CK_TILE_BYTES);
    for (size_t row = 0; row < rows; row++) memcpy(tile[row], rows_at + row * stride, bytes);
}

// Turns rows of 4-byte groups into groups of 16 rows: the order of a panel.
static inline void ck_tile_transpose(uint32_t tile[CK_PANEL_ROWS][CK_TILE_WORDS], uint32_t turned[CK_TILE_WORDS][CK_PANEL_ROWS]) {
    for (size_t group = 0; group < CK_TILE_WORDS; group++)
        for (size_t row = 0; row < CK_PANEL_ROWS; row++) turned[group][row] = tile[row][group];
}
