// Sums of sparse values for few rows of p, AMX BF16, without a step between expanding and multiplying:
//
//   A  rows of p x 16 tokens, rounded to bf16 once a call, twice: beside a zero, p[t] 0, and behind one, 0 p[t]
//   B  16 tokens x 32 channels, as they expand: a pair of channels is what a pair of A meets
//   C  for each row of p its sums of 16 even channels, and of 16 odd ones; in tiles 0 to 3 for all tokens
//
// Half of the products are with zeros, which the tile unit has time for with so few rows. While it works on 16 tokens, the next
// 16 are expanded. 0 times a NaN or an infinity beside the wanted channel is NaN: a row of sums that has one is computed again,
// in fp32, with the same rounded p.
#include <string.h>
#include "attention/sparse_rows.h"
#include "support/isa.h"

#if CK_X86
#include "support/for_rows.h"

#define VALUES(name)                                                                                                             \
    void ck_attention_values_##name(const ck_kv_span *values, size_t rows, const float *p, size_t p_stride, float *y,            \
                                    size_t y_stride, void *scratch)
size_t ck_attention_values_sparse_avx512bf16_scratch(size_t rows, size_t dim);
VALUES(sparse50_avx512bf16);
VALUES(sparse70_avx512bf16);

enum {
    TILE = 16,
    TILE_BYTES = 1024,
    GROUPS = CK_ATTENTION_CHUNK / TILE,
    PIECE = 4,  // tokens that are expanded beside one multiplication
    LINES = 4,  // of C
    ROWS = 8,
};

// A; B of two times 16 tokens; C; or p and the sums of one row.
size_t ck_attention_values_sparse_few_amxbf16_scratch(size_t rows, size_t dim) {
    (void)rows;
    const size_t again = CK_ATTENTION_CHUNK * sizeof(float) + ck_attention_values_sparse_avx512bf16_scratch(1, dim);
    const size_t tiles = (GROUPS + 3 * LINES) * TILE_BYTES;
    return tiles > again ? tiles : again;
}

CK_ISA_BEGIN(amxbf16)
#include "support/bf16_avx512.h"
#include "support/expand_avx512.h"
#include "support/tile.h"
#include "attention/kv_ahead.h"
#include "attention/lanes_avx512.h"

typedef struct {
    const ck_kv_span *values;
    ck_kv_type type;
    size_t lines, lines_ahead;  // of a row; of PIECE tokens, about
    char *a, *b, *c;
} work;

enum { EVEN = 0x55555555, ODD = (int)0xAAAAAAAA };

// 16 elements of p, rounded to bf16, in the even or the odd words. That the conversion takes denormals for 0 changes nothing: so
// do the multiplications.
CK_INLINE __m512i round_p(const float *p, int words) {
    const __m512i rounded = (__m512i)_mm512_cvtne2ps_pbh(_mm512_setzero_ps(), _mm512_loadu_ps(p));
    return _mm512_maskz_expand_epi16((__mmask32)words, rounded);
}

static void pack_a(const work *w, size_t rows, const float *p, size_t p_stride) {
    for (size_t m = 0; m < rows; m++)
        for (size_t t = 0; t < w->values->tokens; t += TILE) {
            char *row = w->a + t / TILE * TILE_BYTES + m * 64;
            _mm512_store_si512(row, round_p(p + m * p_stride + t, EVEN));
            _mm512_store_si512(row + rows * 64, round_p(p + m * p_stride + t, ODD));
        }
}

static void configure(size_t rows) {
    ck_tile_config config = {.palette = 1};
    for (int c = 0; c < 5; c++) ck_tile_shape(&config, c, 2 * rows, 64);
    ck_tile_shape(&config, 5, TILE, 64);
    ck_tile_configure(&config);
}

CK_INLINE char *b_of(const work *w, size_t token) { return w->b + token / TILE % 2 * LINES * TILE_BYTES; }

// Lines `line` ... of PIECE tokens into B, a row of each tile. Tokens behind the last one count as 0.
CK_INLINE void expand(const work *w, size_t token, size_t line, int lines) {
    const void *part = w->values->parts[token / CK_KV_TOKENS];
    const size_t kept = ck_sparse_kept(w->type, w->values->dim);
    const uint16_t *values = ck_sparse_values(w->type, w->values->dim, part, token % CK_KV_TOKENS);
    const uint32_t *masks = ck_sparse_masks(w->type, w->values->dim, part, token % CK_KV_TOKENS);
    char *target = b_of(w, token) + token % TILE * 64;
    CK_UNROLL
    for (size_t t = 0; t < PIECE; t++, target += 64, masks += w->lines) {
        const uint32_t keeps = token + t < w->values->tokens ? UINT32_MAX : 0;
        const uint16_t *value = values + t * kept;
        for (size_t i = 0; i < line; i++) value += __builtin_popcount(masks[i]);
        CK_UNROLL
        for (int l = 0; l < lines; l++)
            _mm512_store_si512(target + l * TILE_BYTES, ck_expand_bf16(masks[line + (size_t)l] & keeps, &value));
    }
}

// The 16 tokens from `first` on, while the 16 after them are expanded, if there are any.
CK_INLINE void group(const work *w, size_t first, size_t line, ck_kv_ahead *ahead, int lines) {
    const char *b = b_of(w, first);
    const size_t end = first + TILE < w->values->tokens ? first + 2 * TILE : first + TILE;
    size_t next = first + TILE;
    ck_tile_load(4, w->a + first / TILE * TILE_BYTES, 64);
#define TIMES(tile)                                                                                                              \
    do {                                                                                                                         \
        if ((tile) >= lines) break;                                                                                              \
        ck_tile_load(5, b + (tile) * TILE_BYTES, 64);                                                                            \
        ck_tile_dot_bf16(tile, 4, 5);                                                                                            \
        if (next == end) break;                                                                                                  \
        if (ahead) ck_kv_ahead_lines(ahead, w->lines_ahead);                                                                     \
        expand(w, next, line, lines);                                                                                            \
        next += PIECE;                                                                                                           \
    } while (0)
    TIMES(0);
    TIMES(1);
    TIMES(2);
    TIMES(3);
#undef TIMES
    for (; next < end; next += PIECE) expand(w, next, line, lines);
    ck_tile_fence();
}

// Up to four lines of channels of all tokens, with up to 8 rows of p.
CK_INLINE void pass(const work *w, size_t rows, size_t line, float *y, size_t y_stride, ck_kv_ahead *ahead, int lines) {
    for (size_t t = 0; t < TILE; t += PIECE) expand(w, t, line, lines);
    ck_tile_fence();
    ck_tile_zero(0);
    if (lines > 1) ck_tile_zero(1);
    if (lines > 2) ck_tile_zero(2);
    if (lines > 3) ck_tile_zero(3);
    for (size_t first = 0; first < w->values->tokens; first += TILE) group(w, first, line, ahead, lines);
    ck_tile_store(0, w->c, 64);
    if (lines > 1) ck_tile_store(1, w->c + TILE_BYTES, 64);
    if (lines > 2) ck_tile_store(2, w->c + 2 * TILE_BYTES, 64);
    if (lines > 3) ck_tile_store(3, w->c + 3 * TILE_BYTES, 64);
    ck_tile_fence();
    for (size_t m = 0; m < rows; m++)
        for (int l = 0; l < lines; l++) {
            const char *even = w->c + l * TILE_BYTES + m * 64;
            const size_t channel = 32 * (line + (size_t)l), left = w->values->dim - channel;
            ck_store_even_odd_avx512(y + m * y_stride + channel, left < 32 ? left : 32, _mm512_load_ps(even),
                                     _mm512_load_ps(even + rows * 64));
        }
}

static int has_nan(const float *y, size_t dim) {
    for (size_t c = 0; c < dim; c += 16) {
        const uint32_t mask = dim - c < 16 ? (1u << (dim - c)) - 1 : 0xFFFF;
        const __m512 sums = _mm512_maskz_loadu_ps((__mmask16)mask, y + c);
        if (_mm512_cmp_ps_mask(sums, sums, _CMP_UNORD_Q)) return 1;
    }
    return 0;
}

// A row of p without products beside the wanted ones.
static void compute_again(ck_kv_type type, const ck_kv_span *values, const float *p, float *y, char *scratch) {
    float *rounded = (float *)(void *)scratch;
    for (size_t t = 0; t < ck_kv_parts(values->tokens) * CK_KV_TOKENS; t += TILE)
        _mm512_storeu_ps(rounded + t, _mm512_castsi512_ps(round_p(p + t, ODD)));
    char *room = scratch + CK_ATTENTION_CHUNK * sizeof(float);
    if (type == CK_KV_SPARSE50)
        ck_attention_values_sparse50_avx512bf16(values, 1, rounded, CK_ATTENTION_CHUNK, y, values->dim, room);
    else ck_attention_values_sparse70_avx512bf16(values, 1, rounded, CK_ATTENTION_CHUNK, y, values->dim, room);
}

CK_INLINE void run(ck_kv_type type, const ck_kv_span *values, size_t rows, const float *p, size_t p_stride, float *y,
                   size_t y_stride, char *scratch) {
    const size_t part_bytes = ck_sparse_part_bytes(type, values->dim), pieces = CK_KV_TOKENS / PIECE;
    const work w = {.values = values,
                    .type = type,
                    .lines = ck_sparse_lines(values->dim),
                    .lines_ahead = (part_bytes / 64 + pieces - 1) / pieces,
                    .a = scratch,
                    .b = scratch + GROUPS * TILE_BYTES,
                    .c = scratch + (GROUPS + 2 * LINES) * TILE_BYTES};
    ck_kv_ahead ahead = ck_kv_ahead_begin(values, part_bytes);
    for (size_t m = 0; m < rows; m += ROWS) {
        const size_t block = rows - m < ROWS ? rows - m : ROWS;
        pack_a(&w, block, p + m * p_stride, p_stride);
        configure(block);
        for (size_t line = 0; line < w.lines; line += LINES) {
            ck_kv_ahead *next = m == 0 && line == 0 ? &ahead : NULL;
#define CALL(lines) pass(&w, block, line, y + m * y_stride, y_stride, next, lines)
            CK_FOR_ROWS_4(w.lines - line < LINES ? w.lines - line : LINES, CALL)
#undef CALL
        }
    }
    ck_tile_release();
    for (size_t m = 0; m < rows; m++)
        if (has_nan(y + m * y_stride, values->dim)) compute_again(type, values, p + m * p_stride, y + m * y_stride, scratch);
}

VALUES(sparse50_few_amxbf16) { run(CK_KV_SPARSE50, values, rows, p, p_stride, y, y_stride, scratch); }
VALUES(sparse70_few_amxbf16) { run(CK_KV_SPARSE70, values, rows, p, p_stride, y, y_stride, scratch); }

CK_ISA_END
#endif
