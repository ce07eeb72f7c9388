// Times ggml_mul_mat of ik_llama.cpp's ggml, cold, in kbench's JSON form: BF16, Q8_0 and 4-bit weights, in file order and in the
// interleaved order (BF16_R16, Q8_0_R8, Q4_0_R8, ...) that its loader makes of them when asked to repack.

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <ggml.h>

#include "peer.h"

// Of its quantisation library, which installs no header. The type is the same when a tensor's shape cannot be interleaved.
int iqk_repacked_type(const struct ggml_tensor *tensor);
void iqk_repack_tensor(struct ggml_tensor *tensor);

typedef struct {
    const char *op, *format;
    enum ggml_type type;
} kind;

static const kind kinds[] = {
    {"dense_gemm", "bf16", GGML_TYPE_BF16},     {"dense_gemm", "q8_0", GGML_TYPE_Q8_0},   {"code4_gemm", "q4_0", GGML_TYPE_Q4_0},
    {"code4_gemm", "iq4_nl", GGML_TYPE_IQ4_NL}, {"code4_gemm", "mxfp4", GGML_TYPE_MXFP4},
};
static const char *const variants[] = {"mul_mat", "mul_mat-repacked"};
// A matrix repeats itself after so many rows, which no tile divides: quantising all of them would take longer than the run.
enum { KINDS = sizeof kinds / sizeof kinds[0], ORDERS = 2, DISTINCT_ROWS = 509, GRAPH_NODES = 8 };

typedef struct {
    const kind *kind;
    const char *variant;
    int64_t n, k;
    size_t bytes;  // of one copy
    int copies;
    struct ggml_context *matrices;
    struct ggml_tensor **weights;  // one per copy
    char *packed, *rows;           // all copies; the weights in file order
    // At one M:
    struct ggml_context *tensors;
    float *x, *y;
    struct ggml_cgraph **graphs;  // one per copy
    struct ggml_cplan plan;
} product;

static int threads;

// --- One contender --------------------------------------------------------------------------------------------------

static void *aligned(size_t bytes) {
    void *memory = aligned_alloc(64, (bytes + 63) / 64 * 64);
    if (!memory) peer_die("no memory for %zu bytes", bytes);
    return memory;
}

static void quantise(product *o) {
    size_t row_bytes = ggml_row_size(o->kind->type, o->k);
    float *row = peer_allocate((size_t)o->k * sizeof *row);
    o->rows = peer_allocate(o->bytes);
    for (int64_t r = 0; r < o->n; r++) {
        char *packed = o->rows + (size_t)r * row_bytes;
        if (r >= DISTINCT_ROWS) {
            memcpy(packed, packed - DISTINCT_ROWS * row_bytes, row_bytes);
            continue;
        }
        for (int64_t i = 0; i < o->k; i++) row[i] = peer_code((uint64_t)(r * o->k + i)) * PEER_WEIGHT_SCALE;
        ggml_quantize_chunk(o->kind->type, row, packed, 0, 1, o->k, NULL, NULL);
    }
    free(row);
}

static void place_weights(product *o, bool repack) {
    quantise(o);
    size_t count = (size_t)o->copies, stride = (o->bytes + 63) / 64 * 64;
    o->matrices = ggml_init((struct ggml_init_params){(count + 1) * ggml_tensor_overhead(), NULL, true});
    o->weights = peer_allocate(count * sizeof *o->weights);
    o->packed = aligned(count * stride);
    for (size_t i = 0; i < count; i++) {
        struct ggml_tensor *w = ggml_new_tensor_2d(o->matrices, o->kind->type, o->k, o->n);
        w->data = o->packed + i * stride;
        memcpy(w->data, o->rows, o->bytes);
        if (repack) iqk_repack_tensor(w);
        o->weights[i] = w;
    }
}

static bool can_repack(const kind *kind, int64_t n, int64_t k) {
    struct ggml_context *tensors = ggml_init((struct ggml_init_params){2 * ggml_tensor_overhead(), NULL, true});
    bool yes = iqk_repacked_type(ggml_new_tensor_2d(tensors, kind->type, k, n)) != (int)kind->type;
    ggml_free(tensors);
    return yes;
}

// One input and one output shared by all copies of the weights: a graph of one product per copy. All graphs need the same work
// memory, so one plan serves them.
static void build_graphs(product *o, int64_t m) {
    size_t count = (size_t)o->copies, inputs = (size_t)(m * o->k);
    size_t need = (count + 2) * ggml_tensor_overhead() + count * ggml_graph_overhead_custom(GRAPH_NODES, false);
    o->tensors = ggml_init((struct ggml_init_params){need, NULL, true});
    o->x = aligned(inputs * sizeof *o->x);
    o->y = aligned((size_t)(m * o->n) * sizeof *o->y);
    for (size_t i = 0; i < inputs; i++) o->x[i] = peer_code(~(uint64_t)i) * PEER_INPUT_SCALE;
    struct ggml_tensor *x = ggml_new_tensor_2d(o->tensors, GGML_TYPE_F32, o->k, m);
    x->data = o->x;
    o->graphs = peer_allocate(count * sizeof *o->graphs);
    for (size_t i = 0; i < count; i++) {
        struct ggml_tensor *y = ggml_mul_mat(o->tensors, o->weights[i], x);
        y->data = o->y;
        o->graphs[i] = ggml_new_graph_custom(o->tensors, GRAPH_NODES, false);
        ggml_build_forward_expand(o->graphs[i], y);
    }
    o->plan = ggml_graph_plan(o->graphs[0], threads);
    o->plan.work_data = o->plan.work_size ? aligned(o->plan.work_size) : NULL;
}

static void drop_graphs(product *o) {
    ggml_free(o->tensors);
    free(o->x), free(o->y), free(o->graphs), free(o->plan.work_data);
}

static void drop_weights(product *o) {
    ggml_free(o->matrices);
    free(o->weights), free(o->packed), free(o->rows);
}

static void run(void *state, int copy) {
    product *o = state;
    enum ggml_status status = ggml_graph_compute(o->graphs[copy], &o->plan);
    if (status != GGML_STATUS_SUCCESS) peer_die("ggml could not compute a product: status %d", (int)status);
}

static const float *output(void *state) { return ((product *)state)->y; }

static void weights(void *state, int64_t row, float *w) {
    product *o = state;
    const char *packed = o->rows + (size_t)row * ggml_row_size(o->kind->type, o->k);
    ggml_internal_get_type_traits(o->kind->type).to_float(packed, w, o->k);
}

// It sums in fp32. For all weights but bf16 it rounds the activations to 8 bits in blocks, by no more than one step of the widest
// block there can be, whose largest value is 127 x PEER_INPUT_SCALE, and keeps the blocks' scales in as little as bf16.
static peer_slack slack(const kind *kind, int64_t k) {
    bool rounds = kind->type != GGML_TYPE_BF16;
    return (peer_slack){(double)k * 0x1p-24 + (rounds ? 0x1p-8 : 0), 0x1p-22, rounds ? (double)PEER_INPUT_SCALE : 0};
}

// --- The run --------------------------------------------------------------------------------------------------------

static int place_all(const peer_options *options, int64_t n, int64_t k, product *products) {
    int count = 0;
    for (int i = 0; i < KINDS * ORDERS && !peer_ended(); i++) {
        const kind *kind = &kinds[i / ORDERS];
        bool repack = i % ORDERS;
        if (!peer_wants(variants[repack])) continue;
        if (k % ggml_blck_size(kind->type) || (repack && !can_repack(kind, n, k))) {
            peer_say("absent: %s %s %lldx%lld: not in this build or not for this shape", kind->format, variants[repack],
                     (long long)n, (long long)k);
            continue;
        }
        product *o = &products[count++];
        *o = (product){.kind = kind, .variant = variants[repack], .n = n, .k = k};
        o->bytes = ggml_row_size(kind->type, k) * (size_t)n;
        o->copies = peer_copies(options, o->bytes);
        place_weights(o, repack);
    }
    return count;
}

static bool run_group(const peer_options *options, product *products, int count, int64_t n, int64_t k, int64_t m) {
    peer_contender contenders[KINDS * ORDERS];
    int ready = 0;
    for (int i = 0; i < count; i++) {
        product *o = &products[i];
        build_graphs(o, m);
        contenders[ready] = (peer_contender){o->kind->op, o->kind->format, o->variant,        o->bytes,   o->copies,  run,
                                             output,      weights,         slack(o->kind, k), .state = o, .error = 0, .bound = 0};
        ready += peer_check(&contenders[ready], n, k, m);
    }
    bool more = peer_time(options, contenders, ready, n, k, m);
    for (int i = 0; i < count; i++) drop_graphs(&products[i]);
    return more;
}

static bool run_shape(const peer_options *options, int64_t n, int64_t k) {
    product products[KINDS * ORDERS];
    int count = place_all(options, n, k, products);
    bool more = !peer_ended();
    for (int i = 0; i < options->m_count && more; i++) more = run_group(options, products, count, n, k, options->ms[i]);
    for (int i = 0; i < count; i++) drop_weights(&products[i]);
    return more;
}

int main(int argc, char **argv) {
    peer_options options = peer_start(argc, argv, "ik_llama.cpp", IK_VERSION, "ik_llama.cpp-" IK_VERSION);
    threads = options.threads;
    bool more = true;
    for (int s = 0; s < options.shape_count && more; s++) more = run_shape(&options, options.shapes[s].n, options.shapes[s].k);
    return peer_finish();
}
