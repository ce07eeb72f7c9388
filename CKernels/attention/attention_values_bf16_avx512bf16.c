// Sums of bf16 values, AVX-512 BF16. Unpacking the rows of two tokens makes the pairs that VDPBF16PS adds up; p is rounded to
// bf16 and two tokens of it are broadcast. Four rows of p by two lines of channels are 16 chains. The order that unpacking
// leaves is mended once, at the end.
//
// Four rows of p take about 16 cycles a value of 256 bytes. The next part is asked for in the order of its memory meanwhile.
#include "attention/kv_rows.h"
#include "support/isa.h"

#if CK_X86
#include "support/for_rows.h"

// Sums, and p as bf16.
size_t ck_attention_values_bf16_avx512bf16_scratch(size_t rows, size_t dim) {
    return rows * (2 * ck_kv_row_bytes(CK_KV_BF16, dim) + CK_ATTENTION_CHUNK * sizeof(uint16_t));
}

CK_ISA_BEGIN(avx512bf16)
#include "support/bf16_avx512.h"
#include "attention/kv_ahead.h"
#include "attention/lanes_avx512.h"

enum { ROWS = 4, LINES = 2, P_BYTES = CK_ATTENTION_CHUNK * sizeof(uint16_t) };

CK_INLINE __m512bh broadcast_pair_avx512(const char *p) {
    int32_t pair;
    memcpy(&pair, p, sizeof pair);
    return (__m512bh)_mm512_set1_epi32(pair);
}

typedef struct {
    __m512 low, high;
} unpacked;

// One or two lines of channels of a part: sums += p . v, the sums of a line being 16 low ones and 16 high ones.
CK_INLINE void sums_avx512(const char *v, size_t row_bytes, size_t tokens, const char *p, float *sums, ck_kv_ahead *ahead,
                           int lines, int rows) {
    unpacked acc[ROWS][LINES];
    CK_UNROLL
    for (int m = 0; m < rows; m++) CK_UNROLL
    for (int l = 0; l < lines; l++) {
        const float *at = sums + (size_t)m * (row_bytes / 2) + 32 * l;
        acc[m][l] = (unpacked){_mm512_load_ps(at), _mm512_load_ps(at + 16)};
    }
    for (size_t t = 0; t < tokens; t += 2) {
        __m512bh pair[ROWS];
        CK_UNROLL
        for (int m = 0; m < rows; m++) pair[m] = broadcast_pair_avx512(p + (size_t)m * P_BYTES + 2 * t);
        CK_UNROLL
        for (int l = 0; l < lines; l++) {
            const char *at = v + t * row_bytes + 64 * l;
            const __m512i one = _mm512_load_si512(at);
            const __m512i two = t + 1 < tokens ? _mm512_load_si512(at + row_bytes) : _mm512_setzero_si512();
            if (ahead) ck_kv_ahead_lines(ahead, 2);
            const __m512bh low = (__m512bh)_mm512_unpacklo_epi16(one, two), high = (__m512bh)_mm512_unpackhi_epi16(one, two);
            CK_UNROLL
            for (int m = 0; m < rows; m++) {
                acc[m][l].low = _mm512_dpbf16_ps(acc[m][l].low, low, pair[m]);
                acc[m][l].high = _mm512_dpbf16_ps(acc[m][l].high, high, pair[m]);
            }
        }
    }
    CK_UNROLL
    for (int m = 0; m < rows; m++) CK_UNROLL
    for (int l = 0; l < lines; l++) {
        float *at = sums + (size_t)m * (row_bytes / 2) + 32 * l;
        _mm512_store_ps(at, acc[m][l].low);
        _mm512_store_ps(at + 16, acc[m][l].high);
    }
}

// Up to four rows of p against a part.
CK_INLINE void part_avx512(const ck_kv_span *values, size_t part, size_t row_bytes, const char *p, float *sums,
                           ck_kv_ahead *ahead, int rows) {
    const size_t tokens = ck_kv_part_tokens(values, part);
    const char *v = values->parts[part];
    p += part * CK_KV_TOKENS * sizeof(uint16_t);
    size_t line = 0;
    for (; line + 128 <= row_bytes; line += 128) sums_avx512(v + line, row_bytes, tokens, p, sums + line / 2, ahead, 2, rows);
    if (line < row_bytes) sums_avx512(v + line, row_bytes, tokens, p, sums + line / 2, ahead, 1, rows);
}

void ck_attention_values_bf16_avx512bf16(const ck_kv_span *values, size_t rows, const float *p, size_t p_stride, float *y,
                                         size_t y_stride, void *scratch) {
    const size_t row_bytes = ck_kv_row_bytes(CK_KV_BF16, values->dim), parts = ck_kv_parts(values->tokens);
    const size_t row_sums = row_bytes / 2;
    float *sums = scratch;
    char *weights = (char *)(sums + rows * row_sums);
    memset(sums, 0, rows * row_sums * sizeof(float));
    for (size_t m = 0; m < rows; m++)
        for (size_t t = 0; t < parts * CK_KV_TOKENS; t += 32)
            _mm512_store_si512(weights + m * P_BYTES + 2 * t, ck_round_line_avx512(p + m * p_stride + t, 32));
    ck_kv_ahead ahead = ck_kv_ahead_begin(values, CK_KV_TOKENS * row_bytes);
    for (size_t part = 0; part < parts; part++)
        for (size_t m = 0; m < rows; m += ROWS) {
            const size_t left = rows - m;
            ck_kv_ahead *next = m == 0 ? &ahead : NULL;
#define CALL(count) part_avx512(values, part, row_bytes, weights + m * P_BYTES, sums + m * row_sums, next, count)
            CK_FOR_ROWS_4(left < ROWS ? left : ROWS, CALL)
#undef CALL
        }
    for (size_t m = 0; m < rows; m++)
        for (size_t c = 0; c < values->dim; c += 32) {
            const float *at = sums + m * row_sums + c;
            const size_t left = values->dim - c;
            ck_store_unpacked_avx512(y + m * y_stride + c, left < 32 ? left : 32, _mm512_load_ps(at), _mm512_load_ps(at + 16));
        }
}

CK_ISA_END
#endif
