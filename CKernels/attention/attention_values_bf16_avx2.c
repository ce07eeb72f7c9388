// Sums of bf16 values, AVX2. A line of 16 bf16 gives 8 even and 8 odd channels by a shift and a mask; four rows of p make eight
// chains of multiply-adds over the tokens of a part. The lines of a part are used channel block by channel block, so the next
// part is asked for in the order of its memory meanwhile.
#include "attention/kv_rows.h"
#include "support/isa.h"

#if CK_X86
#include "support/for_rows.h"

size_t ck_attention_values_bf16_avx2_scratch(size_t rows, size_t dim) {
    return rows * ck_kv_row_bytes(CK_KV_BF16, dim) / 2 * sizeof(float);
}

CK_ISA_BEGIN(avx2)
#include "support/bf16_avx2.h"

enum { ROWS = 4 };

// 16 channels of a part: sums[m] += p[m] . v, in lanes of even and of odd channels.
CK_INLINE void sums_avx2(const uint16_t *v, size_t row_elements, size_t tokens, const float *p, size_t p_stride, float *sums,
                         const char *next, int rows) {
    __m256 low[ROWS], high[ROWS];
    CK_UNROLL
    for (int m = 0; m < rows; m++) {
        low[m] = _mm256_load_ps(sums + (size_t)m * row_elements);
        high[m] = _mm256_load_ps(sums + (size_t)m * row_elements + 8);
    }
    for (size_t t = 0; t < tokens; t++) {
        const __m256i line = _mm256_load_si256((const __m256i *)(v + t * row_elements));
        if (t % 2 == 0) _mm_prefetch(next + t / 2 * 64, _MM_HINT_T0);
        const __m256 even = ck_even_avx2(line), odd = ck_odd_avx2(line);
        CK_UNROLL
        for (int m = 0; m < rows; m++) {
            const __m256 weight = _mm256_broadcast_ss(p + (size_t)m * p_stride + t);
            low[m] = _mm256_fmadd_ps(even, weight, low[m]);
            high[m] = _mm256_fmadd_ps(odd, weight, high[m]);
        }
    }
    CK_UNROLL
    for (int m = 0; m < rows; m++) {
        _mm256_store_ps(sums + (size_t)m * row_elements, low[m]);
        _mm256_store_ps(sums + (size_t)m * row_elements + 8, high[m]);
    }
}

void ck_attention_values_bf16_avx2(const ck_kv_span *values, size_t rows, const float *p, size_t p_stride, float *y,
                                   size_t y_stride, void *scratch) {
    const size_t row_elements = ck_kv_row_bytes(CK_KV_BF16, values->dim) / 2, parts = ck_kv_parts(values->tokens);
    float *sums = scratch;
    memset(sums, 0, rows * row_elements * sizeof(float));
    for (size_t part = 0; part < parts; part++) {
        const size_t tokens = ck_kv_part_tokens(values, part);
        const char *next = values->parts[part + 1 < parts ? part + 1 : part];
        for (size_t m = 0; m < rows; m += ROWS) {
            const size_t left = rows - m;
            for (size_t c = 0; c < row_elements; c += 16) {
                const uint16_t *v = (const uint16_t *)values->parts[part] + c;
#define CALL(count)                                                                                                              \
    sums_avx2(v, row_elements, tokens, p + m * p_stride + part * CK_KV_TOKENS, p_stride, sums + m * row_elements + c,            \
              next + c * 2 * CK_KV_TOKENS, count)
                CK_FOR_ROWS_4(left < ROWS ? left : ROWS, CALL)
#undef CALL
            }
        }
    }
    for (size_t m = 0; m < rows; m++)
        for (size_t c = 0; c < values->dim; c++)
            y[m * y_stride + c] = sums[m * row_elements + c / 16 * 16 + c % 2 * 8 + c % 16 / 2];
}

CK_ISA_END
#endif
