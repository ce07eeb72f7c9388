// Sums of RaZeR values, AVX-512 BF16. p times what 1 is worth in each group of channels is rounded to bf16; the values themselves
// are bf16 exactly. Two tokens of 16 channels come out of a line at a time and meet two tokens of up to eight rows of p.
#include "attention/razer_rows.h"
#include "support/isa.h"

#if CK_X86
#include "support/for_rows.h"

enum { ROWS = 8, WEIGHT_BYTES = CK_KV_TOKENS * sizeof(uint16_t) };

// Sums, and for up to eight rows the weights of a part and group.
size_t ck_attention_values_razer_avx512bf16_scratch(size_t rows, size_t dim) {
    return rows * ck_razer_groups(dim) * 64 + ROWS * WEIGHT_BYTES;
}

CK_ISA_BEGIN(avx512bf16)
#include "attention/kv_ahead.h"
#include "attention/razer_avx512.h"
#include "attention/razer_weights_avx512.h"

CK_INLINE __m512bh broadcast_pair_avx512(const char *weights) {
    int32_t pair;
    memcpy(&pair, weights, sizeof pair);
    return (__m512bh)_mm512_set1_epi32(pair);
}

// A part of a group with `rows` rows of weights, a constant: sums += weights . v. What codes behind the last token stand for
// meets weights of 0.
CK_INLINE void group_avx512(const uint8_t *lines, const uint16_t *special, size_t tokens, const char *weights, float *sums,
                            size_t stride, int rows) {
    const __m512i table = ck_razer_value_table_avx512();
    __m512 acc[ROWS];
    CK_UNROLL
    for (int m = 0; m < rows; m++) acc[m] = _mm512_load_ps(sums + (size_t)m * stride);
    for (size_t t = 0; t < tokens; t += CK_RAZER_LINE_TOKENS) {
        const __m512i line = _mm512_load_si512(lines + t * 8);
        CK_UNROLL
        for (unsigned i = 0; i < 4; i++) {
            const __m512bh value = (__m512bh)ck_razer_values_avx512(table, _mm512_srli_epi16(line, 4 * i), special + t + 2 * i);
            CK_UNROLL
            for (int m = 0; m < rows; m++) {
                const char *pair = weights + m * WEIGHT_BYTES + 2 * (t + 2 * i);
                acc[m] = _mm512_dpbf16_ps(acc[m], value, broadcast_pair_avx512(pair));
            }
        }
    }
    CK_UNROLL
    for (int m = 0; m < rows; m++) _mm512_store_ps(sums + (size_t)m * stride, acc[m]);
}

void ck_attention_values_razer_avx512bf16(const ck_kv_span *values, size_t rows, const float *p, size_t p_stride, float *y,
                                          size_t y_stride, void *scratch) {
    const size_t groups = ck_razer_groups(values->dim), stride = groups * CK_RAZER_GROUP;
    float *sums = scratch;
    char *weights = (char *)(sums + rows * stride);
    memset(sums, 0, rows * stride * sizeof(float));
    ck_kv_ahead ahead = ck_kv_ahead_begin(values, ck_razer_part_bytes(CK_KV_RAZER_VALUES, values->dim));
    for (size_t part = 0; part < ck_kv_parts(values->tokens); part++)
        for (size_t group = 0; group < groups; group++) {
            uint16_t special[CK_KV_TOKENS];
            const uint8_t *scales = ck_razer_value_scales(values->parts[part], group);
            ck_razer_special_avx512(scales, special);
            ck_razer_special_avx512(scales + CK_RAZER_STEP, special + CK_RAZER_STEP);
            const ck_razer_units first = ck_razer_units_avx512(values, group, 2 * part);
            const ck_razer_units second = ck_razer_units_avx512(values, group, 2 * part + 1);
            ck_kv_ahead_lines(&ahead, CK_RAZER_VALUE_LINES);
            for (size_t m = 0; m < rows; m += ROWS) {
                const size_t some = rows - m < ROWS ? rows - m : ROWS;
                for (size_t row = 0; row < some; row++) {
                    const float *own = p + (m + row) * p_stride + part * CK_KV_TOKENS;
                    _mm512_store_si512(weights + row * WEIGHT_BYTES, ck_razer_weights_avx512(&first, own));
                    _mm512_store_si512(weights + row * WEIGHT_BYTES + 64, ck_razer_weights_avx512(&second, own + CK_RAZER_STEP));
                }
#define CALL(count)                                                                                                              \
    group_avx512(ck_razer_value_group(values->parts[part], group), special, ck_kv_part_tokens(values, part), weights,            \
                 sums + m * stride + group * CK_RAZER_GROUP, stride, count)
                CK_FOR_ROWS_8(some, CALL)
#undef CALL
            }
        }
    for (size_t m = 0; m < rows; m++)
        for (size_t c = 0; c < values->dim; c += CK_RAZER_GROUP) {
            const size_t left = values->dim - c;
            const __mmask16 mask = (__mmask16)(left < CK_RAZER_GROUP ? (1u << left) - 1 : 0xFFFF);
            _mm512_mask_storeu_ps(y + m * y_stride + c, mask, _mm512_load_ps(sums + m * stride + c));
        }
}

CK_ISA_END
#endif
