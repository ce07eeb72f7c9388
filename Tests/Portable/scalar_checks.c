// The kernels without Swift: packs small matrices, runs every variant that this machine can run on a pool of three threads and
// compares with exact integer results. Any C17 compiler builds it, so that it also proves the portable kernels under an emulator
// of another architecture. Prints one line; the exit status is 0 when everything agrees.
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "attention_checks.h"
#include "ck_bitmap_gemm.h"
#include "ck_code4_gemm.h"
#include "ck_dense_gemm.h"
#include "ck_pool.h"

enum { THREADS = 3, POISON = 0x7fc0dead };

static uint64_t state = 1;
static size_t compared, runs;

static void fail(const char *what, size_t n, size_t k, size_t m) {
    fprintf(stderr, "scalar_checks: %s at n = %zu, k = %zu, m = %zu\n", what, n, k, m);
    exit(1);
}

static void *allocate(size_t bytes) {
    void *memory = aligned_alloc(64, (bytes + 127) / 64 * 64);
    if (!memory) {
        fprintf(stderr, "scalar_checks: no memory for %zu bytes\n", bytes);
        exit(1);
    }
    return memset(memory, 0, (bytes + 127) / 64 * 64);
}

// xorshift64*: Vigna, "An experimental exploration of Marsaglia's xorshift generators, scrambled".
static uint32_t next_random(void) {
    state ^= state >> 12;
    state ^= state << 25;
    state ^= state >> 27;
    return (uint32_t)((state * UINT64_C(0x2545f4914f6cdd1d)) >> 32);
}

// Integers up to 255 in magnitude are exact in bf16: the upper half of their fp32 form.
static uint16_t bf16_of(int value) {
    const float number = (float)value;
    uint32_t bits;
    memcpy(&bits, &number, sizeof bits);
    return (uint16_t)(bits >> 16);
}

enum { STEPS = 64 };  // of an int16 row of x make 1, so that both planes are in use

// One product: w[n x k] and x[m x k] hold integers in -7...7, about half of w's are 0; `expected` is x w^T + bias in integers.
typedef struct {
    size_t n, k, m;
    int *w, *x, *expected;
    float *bias, *scales, *fine_scales;
} problem;

static problem make_problem(size_t n, size_t k, size_t m) {
    problem p = {.n = n, .k = k, .m = m};
    p.w = allocate(n * k * sizeof *p.w);
    p.x = allocate(m * k * sizeof *p.x);
    p.expected = allocate(m * n * sizeof *p.expected);
    p.bias = allocate(n * sizeof *p.bias);
    p.scales = allocate((n > m ? n : m) * sizeof *p.scales);
    for (size_t i = 0; i < n * k; i++) p.w[i] = next_random() % 2 ? (int)(next_random() % 15) - 7 : 0;
    for (size_t i = 0; i < m * k; i++) p.x[i] = (int)(next_random() % 15) - 7;
    for (size_t i = 0; i < n; i++) p.bias[i] = (float)((int)(next_random() % 31) - 15);
    for (size_t i = 0; i < (n > m ? n : m); i++) p.scales[i] = 1;
    p.fine_scales = allocate(m * sizeof *p.fine_scales);
    for (size_t i = 0; i < m; i++) p.fine_scales[i] = 1.0f / STEPS;
    for (size_t row = 0; row < m; row++)
        for (size_t out = 0; out < n; out++) {
            int sum = (int)p.bias[out];
            for (size_t i = 0; i < k; i++) sum += p.w[out * k + i] * p.x[row * k + i];
            p.expected[row * n + out] = sum;
        }
    return p;
}

static void free_problem(problem *p) {
    free(p->w);
    free(p->x);
    free(p->expected);
    free(p->bias);
    free(p->scales);
    free(p->fine_scales);
}

static void write_element(uint8_t *row, ck_type type, size_t i, size_t stride, int value) {
    const int fine = STEPS * value, high = (fine + 128) >> 8;
    const uint16_t bits = bf16_of(value);
    switch (type) {
    case CK_INT16:
        row[i] = (uint8_t)high;
        row[stride + i] = (uint8_t)(fine - 256 * high);
        break;
    case CK_INT8: row[i] = (uint8_t)value; break;
    default: memcpy(row + 2 * i, &bits, 2);
    }
}

// A call on the problem's activations in the type that the variant reads; rows of k padded to `padded`, even elements of every 8
// first if `even_odd`.
static ck_gemm_call make_padded_call(const problem *p, ck_type type, size_t padded, int even_odd) {
    const size_t stride = padded * (type == CK_BF16 ? 2 : 1), row_bytes = stride * ck_x_planes(type);
    uint8_t *x = allocate(p->m * row_bytes);
    for (size_t row = 0; row < p->m; row++) {
        for (size_t i = 0; i < p->k; i++) write_element(x + row * row_bytes, type, i, stride, p->x[row * p->k + i]);
        if (even_odd) ck_x_to_even_odd((uint16_t *)(void *)(x + row * row_bytes), padded);
    }
    return (ck_gemm_call){
        .m = p->m,
        .n = p->n,
        .k = p->k,
        .x = x,
        .x_stride = stride,
        .x_scale = type == CK_INT16 ? p->fine_scales : p->scales,
        .bias = p->bias,
        .y = allocate(p->m * p->n * sizeof(float)),
        .y_stride = p->n,
        .y_type = CK_F32,
    };
}

static ck_gemm_call make_call(const problem *p, ck_type type) { return make_padded_call(p, type, ck_k_padded(p->k, type), 0); }

static void free_call(ck_gemm_call *call) {
    free((void *)call->x);
    free(call->y);
}

static void poison(ck_gemm_call *call) {
    const uint32_t bits = POISON;
    for (size_t i = 0; i < call->m * call->n; i++) memcpy((float *)call->y + i, &bits, sizeof bits);
}

static void compare(const problem *p, const ck_gemm_call *call, const char *name) {
    const float *y = call->y;
    for (size_t i = 0; i < p->m * p->n; i++)
        if (!(y[i] == (float)p->expected[i])) {
            fprintf(stderr, "scalar_checks: %s y[%zu] = %g, should be %d\n", name, i, (double)y[i], p->expected[i]);
            fail(name, p->n, p->k, p->m);
        }
    compared += p->m * p->n;
    runs++;
}

// One part of a job is one panel of 16 rows.
typedef struct {
    const ck_gemm_call *call;
    const void *weights;
    const void *variant;
    uint8_t *scratch;
    size_t scratch_bytes;
} job;

static void dense_panel(void *context, size_t part, size_t worker) {
    const job *j = context;
    const ck_dense_gemm_variant *variant = j->variant;
    variant->run(j->call, j->weights, part, part + 1, j->scratch + worker * j->scratch_bytes);
}

static void bitmap_panel(void *context, size_t part, size_t worker) {
    const job *j = context;
    const ck_bitmap_gemm_variant *variant = j->variant;
    variant->run(j->call, j->weights, part, part + 1, j->scratch + worker * j->scratch_bytes);
}

static void code4_panel(void *context, size_t part, size_t worker) {
    const job *j = context;
    const ck_code4_gemm_variant *variant = j->variant;
    variant->run(j->call, j->weights, part, part + 1, j->scratch + worker * j->scratch_bytes);
}

static void run_job(ck_pool *pool, const problem *p, ck_gemm_call *call, job j, ck_pool_task task, const char *name) {
    j.call = call;
    j.scratch_bytes = (j.scratch_bytes + 63) / 64 * 64;
    j.scratch = allocate(THREADS * j.scratch_bytes);
    poison(call);
    ck_pool_run(pool, ck_panels(p->n), task, &j);
    compare(p, call, name);
    free(j.scratch);
}

static void check_dense(ck_pool *pool, const problem *p) {
    const size_t bytes = ck_dense_packed_bytes(p->n, p->k);
    uint16_t *values = allocate(bytes), *w = allocate(p->n * p->k * 2), *back = allocate(p->n * p->k * 2);
    for (size_t i = 0; i < p->n * p->k; i++) w[i] = bf16_of(p->w[i]);
    ck_dense_pack(w, p->k, p->n, p->k, 0, ck_panels(p->n), values);
    ck_dense_unpack(values, p->n, p->k, 0, ck_panels(p->n), back, p->k);
    if (memcmp(w, back, p->n * p->k * 2)) fail("unpacking dense weights", p->n, p->k, p->m);

    ck_dense_weights weights = {values};
    ck_gemm_call call = make_call(p, CK_BF16);
    size_t count;
    const ck_dense_gemm_variant *variants = ck_dense_gemm_variants(&count);
    for (size_t i = 0; i < count; i++) {
        if (variants[i].isa & ~ck_isa_detect()) continue;
        const job j = {.weights = &weights, .variant = variants + i, .scratch_bytes = variants[i].scratch_bytes(&call)};
        run_job(pool, p, &call, j, dense_panel, variants[i].name);
    }
    free_call(&call);
    free(values);
    free(w);
    free(back);
}

static void check_bitmap(ck_pool *pool, const problem *p, ck_type type) {
    const size_t element = type == CK_INT8 ? 1 : 2, panels = ck_panels(p->n), bytes = p->n * p->k * element;
    uint8_t *w = allocate(bytes), *back = allocate(bytes);
    for (size_t i = 0; i < p->n * p->k; i++) {
        const uint16_t bits = type == CK_INT8 ? (uint8_t)p->w[i] : bf16_of(p->w[i]);
        memcpy(w + i * element, &bits, element);
    }
    uint64_t *offsets = allocate((panels + 1) * sizeof *offsets);
    ck_bitmap_count(w, p->k, type, p->n, p->k, 0, panels, offsets + 1);
    for (size_t panel = 0; panel < panels; panel++) offsets[panel + 1] += offsets[panel];

    void *bitmap = allocate(ck_bitmap_bytes(p->n, p->k, type));
    void *values = allocate(ck_bitmap_values_bytes(offsets[panels], type));
    int32_t *row_sum = allocate(p->n * sizeof *row_sum);
    ck_bitmap_pack(w, p->k, type, p->n, p->k, 0, panels, offsets, bitmap, values, type == CK_INT8 ? row_sum : NULL);
    ck_bitmap_weights weights = {type, bitmap, values, offsets, p->scales, row_sum};
    size_t bad_panel;
    if (ck_bitmap_validate(&weights, p->n, p->k, offsets[panels], &bad_panel) != CK_OK)
        fail("validating bitmap weights", p->n, p->k, p->m);
    ck_bitmap_unpack(&weights, p->n, p->k, 0, panels, back, p->k);
    if (memcmp(w, back, bytes)) fail("unpacking bitmap weights", p->n, p->k, p->m);

    ck_gemm_call call = make_call(p, type);
    size_t count;
    const ck_bitmap_gemm_variant *variants = ck_bitmap_gemm_variants(&count);
    for (size_t i = 0; i < count; i++) {
        if (variants[i].type != type || variants[i].isa & ~ck_isa_detect()) continue;
        const job j = {.weights = &weights, .variant = variants + i, .scratch_bytes = variants[i].scratch_bytes(&call)};
        run_job(pool, p, &call, j, bitmap_panel, variants[i].name);
    }
    free_call(&call);
    free(w);
    free(back);
    free(offsets);
    free(bitmap);
    free(values);
    free(row_sum);
}

static void run_code4(ck_pool *pool, const problem *p, const ck_code4_weights *weights) {
    size_t count;
    const ck_code4_gemm_variant *variants = ck_code4_gemm_variants(&count);
    for (size_t i = 0; i < count; i++) {
        if (variants[i].min_group > weights->group || variants[i].isa & ~ck_isa_detect()) continue;
        const ck_type type = variants[i].x_type;
        ck_gemm_call call = make_padded_call(p, type, ck_code4_padded(p->k), type == CK_BF16);
        const job j = {.weights = weights, .variant = variants + i, .scratch_bytes = variants[i].scratch_bytes(&call, weights)};
        run_job(pool, p, &call, j, code4_panel, variants[i].name);
        free_call(&call);
    }
}

// `weights` with their codes under a bitmap instead; `w` has the codes, `dense` what the packer without a bitmap makes of them.
static void check_stored(ck_pool *pool, const problem *p, ck_code4_weights weights, const uint8_t *w, const uint8_t *dense) {
    const size_t panels = ck_panels(p->n), bytes = ck_code4_codes_bytes(p->n, p->k);
    uint64_t *offsets = allocate((panels + 1) * sizeof *offsets);
    ck_code4_count_stored(w, p->k, p->n, p->k, 0, panels, offsets + 1);
    for (size_t panel = 0; panel < panels; panel++) offsets[panel + 1] += offsets[panel];
    uint64_t *bitmap = allocate(ck_bitmap_bytes(p->n, p->k, CK_INT8));
    uint8_t *codes = allocate(ck_code4_stored_bytes(offsets[panels])), *back = allocate(bytes);
    ck_code4_pack_stored(w, p->k, p->n, p->k, 0, panels, offsets, bitmap, codes);
    weights.codes = codes;
    weights.bitmap = bitmap;
    weights.offsets = offsets;
    size_t bad_panel;
    if (ck_code4_validate(&weights, p->n, p->k, &bad_panel) != CK_OK) fail("validating stored codes", p->n, p->k, p->m);
    ck_code4_expand(&weights, 0, panels, back);
    if (memcmp(dense, back, bytes)) fail("expanding stored codes", p->n, p->k, p->m);
    run_code4(pool, p, &weights);
    free(offsets);
    free(bitmap);
    free(codes);
    free(back);
}

// Codes that mean 0 ... 7, -8 ... -1, with scales of 1 and selectors that name equal tables: all stored, and under a bitmap.
static void check_code4(ck_pool *pool, const problem *p, ck_scale_type scale_type, uint32_t group) {
    static ck_code4_tables tables;
    for (size_t i = 0; i < 64; i++) {
        const int value = i % 16 < 8 ? (int)(i % 16) : (int)(i % 16) - 16;
        tables.values[i / 16][i % 16] = bf16_of(value);
        tables.integers[i / 16][i % 16] = (int8_t)value;
        tables.scale_values[i] = bf16_of(1);
    }
    const size_t panels = ck_panels(p->n), groups = (p->k + group - 1) / group;
    uint8_t *w = allocate(p->n * p->k), *back = allocate(p->n * p->k);
    uint8_t *codes = allocate(ck_code4_codes_bytes(p->n, p->k));
    uint16_t *scales = allocate(p->n * groups * sizeof *scales);
    void *packed_scales = allocate(ck_code4_scales_bytes(p->n, p->k, group, scale_type));
    for (size_t i = 0; i < p->n * p->k; i++) w[i] = (uint8_t)p->w[i] & 15;
    for (size_t i = 0; i < p->n * groups; i++)
        scales[i] = scale_type == CK_SCALE_INDEX ? (uint16_t)(next_random() & 255) : (uint16_t)(0x3C00 | (next_random() & 3));
    ck_code4_pack_codes(w, p->k, p->n, p->k, 0, panels, codes);
    ck_code4_unpack_codes(codes, p->n, p->k, 0, panels, back, p->k);
    if (memcmp(w, back, p->n * p->k)) fail("unpacking 4-bit codes", p->n, p->k, p->m);
    ck_code4_pack_scales(scales, groups, p->n, p->k, group, scale_type, 0, panels, packed_scales);

    const ck_code4_weights weights = {.codes = codes,
                                      .scales = packed_scales,
                                      .tables = &tables,
                                      .scale_type = scale_type,
                                      .group = group,
                                      .tensor_scale = 1,
                                      .packed_k = p->k,
                                      .view = {panels, panels, p->k, p->k}};
    run_code4(pool, p, &weights);
    check_stored(pool, p, weights, w, codes);
    free(w);
    free(back);
    free(codes);
    free(scales);
    free(packed_scales);
}

int main(void) {
    static const size_t ns[] = {1, 16, 37, 64}, ks[] = {1, 31, 64, 133}, ms[] = {1, 3, 17};
    ck_pool *pool;
    const ck_pool_options options = {.threads = THREADS, .spin_us = 50};
    if (ck_pool_create(&options, &pool) != CK_OK) {
        fprintf(stderr, "scalar_checks: no pool of %d threads\n", THREADS);
        return 1;
    }
    for (size_t n = 0; n < sizeof ns / sizeof *ns; n++)
        for (size_t k = 0; k < sizeof ks / sizeof *ks; k++)
            for (size_t m = 0; m < sizeof ms / sizeof *ms; m++) {
                problem p = make_problem(ns[n], ks[k], ms[m]);
                check_dense(pool, &p);
                check_bitmap(pool, &p, CK_BF16);
                check_bitmap(pool, &p, CK_INT8);
                check_code4(pool, &p, CK_SCALE_INDEX, 16);
                check_code4(pool, &p, CK_SCALE_F16_SELECTOR, 128);
                free_problem(&p);
            }
    ck_pool_destroy(pool);
    compared += check_attention();
#if defined(__x86_64__)
    const char *const architecture = "x86-64";
#elif defined(__aarch64__)
    const char *const architecture = "arm64";
#else
    const char *const architecture = "this architecture";
#endif
    printf("scalar_checks: %s, instruction sets 0x%x, %d threads: %zu runs, all %zu results exact\n", architecture,
           (unsigned)ck_isa_detect(), THREADS, runs, compared);
    return 0;
}
