// Packs codes and scales into panels, and back; what they are worth. The layout is drawn in ck_code4_gemm.h.
#include <math.h>
#include <string.h>
#include "code4_gemm/code4_layout.h"
#include "support/bf16.h"
#include "support/f16.h"

static int packed_bytes(size_t n, size_t panel_bytes, size_t *bytes) {
    return !__builtin_mul_overflow(ck_panels(n), panel_bytes, bytes);
}

static int shape_fits(size_t n, size_t k) { return n > 0 && k > 0 && n <= SIZE_MAX - CK_PANEL_ROWS && k <= SIZE_MAX / 64; }

size_t ck_code4_codes_bytes(size_t n, size_t k) {
    size_t bytes;
    return shape_fits(n, k) && packed_bytes(n, code4_panel_bytes(k), &bytes) ? bytes : 0;
}

size_t ck_code4_scales_bytes(size_t n, size_t k, size_t group, ck_scale_type scale_type) {
    size_t bytes;
    return shape_fits(n, k) && packed_bytes(n, code4_panel_scale_bytes(k, group, scale_type), &bytes) ? bytes : 0;
}

// Eight codes of a row as the four bytes of its lane; `left` of them are there.
static uint32_t pack_lane(const uint8_t *codes, size_t left) {
    uint64_t eight = 0;
    memcpy(&eight, codes, left < CODE4_LINE_K ? left : CODE4_LINE_K);
    return ((uint32_t)eight & 0x0F0F0F0F) | ((uint32_t)(eight >> 28) & 0xF0F0F0F0);
}

static uint64_t unpack_lane(uint32_t lane) { return (lane & 0x0F0F0F0F) | (uint64_t)(lane >> 4 & 0x0F0F0F0F) << 32; }

void ck_code4_pack_codes(const uint8_t *source, size_t stride, size_t n, size_t k, size_t panel_begin, size_t panel_end,
                         uint8_t *codes) {
    for (size_t panel = panel_begin; panel < panel_end; panel++) {
        uint8_t *const target = codes + panel * code4_panel_bytes(k);
        memset(target, 0, code4_panel_bytes(k));
        for (size_t row = 0; row < code4_rows(panel, n); row++) {
            const uint8_t *const from = source + (panel * CK_PANEL_ROWS + row) * stride;
            for (size_t i = 0; i < k; i += CODE4_LINE_K) {
                const uint32_t lane = pack_lane(from + i, k - i);
                memcpy(target + code4_byte(row, i), &lane, sizeof lane);
            }
        }
    }
}

void ck_code4_unpack_codes(const uint8_t *codes, size_t n, size_t k, size_t panel_begin, size_t panel_end, uint8_t *target,
                           size_t stride) {
    for (size_t panel = panel_begin; panel < panel_end; panel++) {
        const uint8_t *const from = codes + panel * code4_panel_bytes(k);
        for (size_t row = 0; row < code4_rows(panel, n); row++)
            for (size_t i = 0; i < k; i += CODE4_LINE_K) {
                uint32_t lane;
                memcpy(&lane, from + code4_byte(row, i), sizeof lane);
                const uint64_t eight = unpack_lane(lane);
                memcpy(target + (panel * CK_PANEL_ROWS + row) * stride + i, &eight, k - i < CODE4_LINE_K ? k - i : CODE4_LINE_K);
            }
    }
}

void ck_code4_pack_scales(const uint16_t *source, size_t stride, size_t n, size_t k, size_t group, ck_scale_type scale_type,
                          size_t panel_begin, size_t panel_end, void *scales) {
    const size_t width = ck_code4_scale_width(scale_type), groups = (k + group - 1) / group;
    const size_t panel_bytes = code4_panel_scale_bytes(k, group, scale_type);
    for (size_t panel = panel_begin; panel < panel_end; panel++) {
        uint8_t *const target = (uint8_t *)scales + panel * panel_bytes;
        memset(target, 0, panel_bytes);
        for (size_t row = 0; row < code4_rows(panel, n); row++)
            for (size_t g = 0; g < groups; g++) {
                const uint16_t bits = source[(panel * CK_PANEL_ROWS + row) * stride + g];
                const uint8_t byte = (uint8_t)bits;
                memcpy(target + (g * CK_PANEL_ROWS + row) * width, width == 1 ? (const void *)&byte : &bits, width);
            }
    }
}

void ck_code4_unpack_scales(const void *scales, size_t n, size_t k, size_t group, ck_scale_type scale_type, size_t panel_begin,
                            size_t panel_end, uint16_t *target, size_t stride) {
    const size_t groups = (k + group - 1) / group;
    for (size_t panel = panel_begin; panel < panel_end; panel++) {
        const uint8_t *const from = (const uint8_t *)scales + panel * code4_panel_scale_bytes(k, group, scale_type);
        for (size_t row = 0; row < code4_rows(panel, n); row++)
            for (size_t g = 0; g < groups; g++)
                target[(panel * CK_PANEL_ROWS + row) * stride + g] = (uint16_t)code4_scale_bits(from, g, row, scale_type);
    }
}

// E4M3: subnormals count in 1/512, 0x7F is NaN.
static float e4m3(unsigned bits) {
    const unsigned exponent = bits >> 3, mantissa = bits & 7;
    if (bits == 0x7F) return NAN;
    return exponent == 0 ? (float)mantissa * 0x1p-9f : ldexpf((float)(8 + mantissa), (int)exponent - 10);
}

float ck_code4_scale(uint32_t bits, ck_scale_type type, const ck_code4_tables *tables) {
    switch (type) {
    case CK_SCALE_F16: return ck_f16_to_f32((uint16_t)bits);
    case CK_SCALE_F16_SELECTOR: return ck_f16_to_f32((uint16_t)(bits & ~3u));
    case CK_SCALE_INDEX: return ck_bf16_to_f32(tables->scale_values[bits & 63]);
    default: return e4m3(bits & 127);
    }
}

unsigned ck_code4_selector(uint32_t bits, ck_scale_type type) {
    switch (type) {
    case CK_SCALE_F16: return 0;
    case CK_SCALE_F16_SELECTOR: return bits & 3;
    case CK_SCALE_INDEX: return bits >> 6 & 3;
    default: return bits >> 7 & 1;
    }
}

// A row's inputs of one step.
static void dequantize_step(const ck_code4_weights *w, const uint8_t *lines, const uint8_t *scales, size_t row, size_t packed,
                            size_t count, float *target) {
    for (size_t end = packed + count; packed < end; packed++) {
        const uint32_t bits = code4_scale_bits(scales, packed / w->group, row, w->scale_type);
        const unsigned code = lines[code4_byte(row, packed % CODE4_STEP_K)] >> code4_shift(packed) & 15;
        const float value = ck_bf16_to_f32(w->tables->values[ck_code4_selector(bits, w->scale_type)][code]);
        *target++ = value * ck_code4_scale(bits, w->scale_type, w->tables) * w->tensor_scale;
    }
}

void ck_code4_dequantize(const ck_code4_weights *w, size_t n, size_t k, size_t panel_begin, size_t panel_end, float *target,
                         size_t stride) {
    for (size_t panel = panel_begin; panel < panel_end; panel++) {
        uint8_t expanded[CODE4_STEP_BYTES];
        code4_stored stored;
        if (w->bitmap) stored = code4_stored_of(w, code4_packed_panel(&w->view, panel));
        const uint8_t *const scales = code4_panel_scales(w, panel);
        float *const rows = target + (panel - panel_begin) * CK_PANEL_ROWS * stride;
        for (size_t i = 0, count; i < k; i += count) {
            const size_t packed = code4_packed_input(&w->view, i), left = w->view.kept_k - i % w->view.kept_k;
            count = left < CODE4_STEP_K ? left : CODE4_STEP_K;
            if (w->bitmap) code4_expand_step(&stored, expanded);
            const uint8_t *const lines =
                w->bitmap ? expanded : code4_panel_codes(w, panel) + packed / CODE4_STEP_K * CODE4_STEP_BYTES;
            for (size_t row = 0; row < code4_rows(panel, n); row++)
                dequantize_step(w, lines, scales, row, packed, count, rows + row * stride + i);
        }
    }
}

ck_status ck_code4_validate(const ck_code4_weights *w, size_t n, size_t k, size_t *bad_panel) {
    *bad_panel = 0;
    if (w->bitmap && w->offsets[0] != 0) return CK_ERR_CORRUPT;
    for (size_t panel = 0; panel < ck_panels(n); panel++) {
        *bad_panel = panel;
        if (w->bitmap && !ck_code4_stored_agree(w, n, k, panel)) return CK_ERR_CORRUPT;
        const uint8_t *const scales = (const uint8_t *)w->scales + panel * code4_panel_scale_bytes(k, w->group, w->scale_type);
        for (size_t group = 0; group < ck_code4_groups(k, w->group); group++)
            for (size_t row = 0; row < CK_PANEL_ROWS; row++) {
                const uint32_t bits = code4_scale_bits(scales, group, row, w->scale_type);
                if (!isfinite(ck_code4_scale(bits, w->scale_type, w->tables))) return CK_ERR_CORRUPT;
            }
    }
    return CK_OK;
}
