// Times ggml_mul_mat of ggml's CPU backend, cold, in kbench's JSON form: BF16, Q8_0 and 4-bit weights, in plain order and in
// every other order that this build of the backend offers for them (repacked, AMX).

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <ggml-alloc.h>
#include <ggml-backend.h>
#include <ggml.h>

#include "peer.h"

typedef struct {
    const char *op, *format;
    enum ggml_type type;
} kind;

static const kind kinds[] = {
    {"dense_gemm", "bf16", GGML_TYPE_BF16},     {"dense_gemm", "q8_0", GGML_TYPE_Q8_0},   {"code4_gemm", "q4_0", GGML_TYPE_Q4_0},
    {"code4_gemm", "iq4_nl", GGML_TYPE_IQ4_NL}, {"code4_gemm", "mxfp4", GGML_TYPE_MXFP4},
};
// A matrix repeats itself after so many rows, which no tile divides: quantising all of them would take longer than the run.
enum { KINDS = sizeof kinds / sizeof kinds[0], MOST_ORDERS = 4, DISTINCT_ROWS = 509, GRAPH_NODES = 8 };

typedef struct {
    const kind *kind;
    const char *variant;
    int64_t n, k;
    size_t bytes;  // of one copy
    int copies;
    struct ggml_context *matrices;  // one tensor per copy
    ggml_backend_buffer_t weights;
    void *rows;  // the weights in ggml's file order
    // At one M:
    struct ggml_context *tensors;
    ggml_backend_buffer_t activations, result;
    struct ggml_cgraph **graphs;  // one per copy
} product;

static ggml_backend_dev_t device;
static ggml_backend_t backend;
static char variants[MOST_ORDERS][64];
static ggml_backend_buffer_type_t orders[MOST_ORDERS];
static int order_count;

// --- The backend ----------------------------------------------------------------------------------------------------

static void *function(const char *name) { return ggml_backend_reg_get_proc_address(ggml_backend_dev_backend_reg(device), name); }

static void add_order(ggml_backend_buffer_type_t order, bool plain) {
    if (order_count == MOST_ORDERS) return;
    orders[order_count] = order;
    snprintf(variants[order_count++], sizeof variants[0], plain ? "mul_mat" : "mul_mat-%s", ggml_backend_buft_name(order));
}

static void find_orders(void) {
    add_order(ggml_backend_dev_buffer_type(device), true);
    ggml_backend_dev_get_extra_bufts_t extra = (ggml_backend_dev_get_extra_bufts_t)function("ggml_backend_dev_get_extra_bufts");
    for (ggml_backend_buffer_type_t *order = extra ? extra(device) : NULL; order && *order; order++) add_order(*order, false);
}

// A pool that outlives the graphs, as in llama.cpp; without it each graph would start its own threads.
static void start_threads(int threads) {
    ggml_backend_set_n_threads_t set_threads = (ggml_backend_set_n_threads_t)function("ggml_backend_set_n_threads");
    if (set_threads) set_threads(backend, threads);
    struct ggml_threadpool *(*new_pool)(struct ggml_threadpool_params *) = function("ggml_threadpool_new");
    void (*set_pool)(ggml_backend_t, struct ggml_threadpool *) = function("ggml_backend_cpu_set_threadpool");
    if (!new_pool || !set_pool) return;
    struct ggml_threadpool_params params = ggml_threadpool_params_default(threads);
    set_pool(backend, new_pool(&params));
}

static void keep_quiet(enum ggml_log_level level, const char *text, void *state) {
    (void)state;
    if (level >= GGML_LOG_LEVEL_WARN && level != GGML_LOG_LEVEL_CONT) fputs(text, stderr);
}

static void note_features(void) {
    ggml_backend_get_features_t features = (ggml_backend_get_features_t)function("ggml_backend_get_features");
    char list[1024] = "";
    for (struct ggml_backend_feature *f = features ? features(ggml_backend_dev_backend_reg(device)) : NULL; f && f->name; f++) {
        size_t used = strlen(list);
        snprintf(list + used, sizeof list - used, "%s%s=%s", used ? " " : "", f->name, f->value);
    }
    peer_note("features", list);
    peer_say("ggml's CPU backend as built: %s", list);
}

// --- One contender --------------------------------------------------------------------------------------------------

// The backend is asked the way a model loader asks it: with a weight that lies in an empty buffer of that order.
static bool supported(const kind *kind, ggml_backend_buffer_type_t order, int64_t n, int64_t k, int64_t m) {
    struct ggml_context *tensors = ggml_init((struct ggml_init_params){8 * ggml_tensor_overhead(), NULL, true});
    struct ggml_tensor *w = ggml_new_tensor_2d(tensors, kind->type, k, n);
    struct ggml_tensor *y = ggml_mul_mat(tensors, w, ggml_new_tensor_2d(tensors, GGML_TYPE_F32, k, m));
    w->buffer = ggml_backend_buft_alloc_buffer(order, 0);
    bool yes = ggml_backend_dev_supports_op(device, y);
    ggml_backend_buffer_free(w->buffer);
    ggml_free(tensors);
    return yes;
}

static void quantise(product *o) {
    size_t row_bytes = ggml_row_size(o->kind->type, o->k);
    float *row = peer_allocate((size_t)o->k * sizeof *row);
    o->rows = peer_allocate(row_bytes * (size_t)o->n);
    for (int64_t r = 0; r < o->n; r++) {
        char *packed = (char *)o->rows + (size_t)r * row_bytes;
        if (r >= DISTINCT_ROWS) {
            memcpy(packed, packed - DISTINCT_ROWS * row_bytes, row_bytes);
            continue;
        }
        for (int64_t i = 0; i < o->k; i++) row[i] = peer_code((uint64_t)(r * o->k + i)) * PEER_WEIGHT_SCALE;
        ggml_quantize_chunk(o->kind->type, row, packed, 0, 1, o->k, NULL);
    }
    free(row);
}

static void fill_activations(struct ggml_tensor *x) {
    size_t count = (size_t)ggml_nelements(x);
    float *values = peer_allocate(count * sizeof *values);
    for (size_t i = 0; i < count; i++) values[i] = peer_code(~(uint64_t)i) * PEER_INPUT_SCALE;
    ggml_backend_tensor_set(x, values, 0, count * sizeof *values);
    free(values);
}

static ggml_backend_buffer_t placed(ggml_backend_buffer_type_t order, size_t bytes) {
    ggml_backend_buffer_t buffer = ggml_backend_buft_alloc_buffer(order, bytes);
    if (!buffer) peer_die("ggml has no memory for %zu bytes", bytes);
    return buffer;
}

static void place_weights(product *o, ggml_backend_buffer_type_t order) {
    quantise(o);
    size_t count = (size_t)o->copies;
    o->matrices = ggml_init((struct ggml_init_params){(count + 1) * ggml_tensor_overhead(), NULL, true});
    for (size_t i = 0; i < count; i++) ggml_new_tensor_2d(o->matrices, o->kind->type, o->k, o->n);
    o->weights = ggml_backend_alloc_ctx_tensors_from_buft(o->matrices, order);
    if (!o->weights) peer_die("ggml has no memory for %zu copies of %zu bytes", count, o->bytes);
    ggml_backend_buffer_set_usage(o->weights, GGML_BACKEND_BUFFER_USAGE_WEIGHTS);
    struct ggml_tensor *w = ggml_get_first_tensor(o->matrices);
    for (; w; w = ggml_get_next_tensor(o->matrices, w)) ggml_backend_tensor_set(w, o->rows, 0, o->bytes);
}

// One input and one output shared by all copies of the weights: a graph of one product per copy.
static void build_graphs(product *o, int64_t m) {
    size_t count = (size_t)o->copies;
    size_t need = (count + 2) * ggml_tensor_overhead() + count * ggml_graph_overhead_custom(GRAPH_NODES, false);
    o->tensors = ggml_init((struct ggml_init_params){need, NULL, true});
    ggml_backend_buffer_type_t plain = ggml_backend_dev_buffer_type(device);
    struct ggml_tensor *x = ggml_new_tensor_2d(o->tensors, GGML_TYPE_F32, o->k, m);
    o->activations = placed(plain, ggml_backend_buft_get_alloc_size(plain, x));
    ggml_backend_tensor_alloc(o->activations, x, ggml_backend_buffer_get_base(o->activations));
    fill_activations(x);
    o->result = placed(plain, (size_t)(m * o->n) * sizeof(float));
    o->graphs = peer_allocate(count * sizeof *o->graphs);
    struct ggml_tensor *w = ggml_get_first_tensor(o->matrices);
    for (size_t i = 0; i < count; i++, w = ggml_get_next_tensor(o->matrices, w)) {
        struct ggml_tensor *y = ggml_mul_mat(o->tensors, w, x);
        ggml_backend_tensor_alloc(o->result, y, ggml_backend_buffer_get_base(o->result));
        o->graphs[i] = ggml_new_graph_custom(o->tensors, GRAPH_NODES, false);
        ggml_build_forward_expand(o->graphs[i], y);
    }
}

static void drop_graphs(product *o) {
    ggml_backend_buffer_free(o->activations), ggml_backend_buffer_free(o->result);
    ggml_free(o->tensors);
    free(o->graphs);
}

static void drop_weights(product *o) {
    ggml_backend_buffer_free(o->weights);
    ggml_free(o->matrices);
    free(o->rows);
}

static void run(void *state, int copy) {
    enum ggml_status status = ggml_backend_graph_compute(backend, ((product *)state)->graphs[copy]);
    if (status != GGML_STATUS_SUCCESS) peer_die("ggml could not compute a product: status %d", (int)status);
}

static const float *output(void *state) { return ggml_backend_buffer_get_base(((product *)state)->result); }

static void weights(void *state, int64_t row, float *w) {
    product *o = state;
    const char *packed = (const char *)o->rows + (size_t)row * ggml_row_size(o->kind->type, o->k);
    ggml_get_type_traits(o->kind->type)->to_float(packed, w, o->k);
}

// ggml sums in fp32 and, for all weights but bf16, first rounds the activations to 8 bits in blocks: by no more than one step of
// the widest block there can be, whose largest value is 127 x PEER_INPUT_SCALE.
static peer_slack slack(const kind *kind, int64_t k) {
    return (peer_slack){(double)k * 0x1p-24, 0x1p-22, kind->type == GGML_TYPE_BF16 ? 0 : (double)PEER_INPUT_SCALE};
}

// --- The run --------------------------------------------------------------------------------------------------------

static int place_all(const peer_options *options, int64_t n, int64_t k, product *products) {
    int placed_count = 0;
    for (int i = 0; i < KINDS * order_count && !peer_ended(); i++) {
        const kind *kind = &kinds[i / order_count];
        int order = i % order_count;
        if (!peer_wants(variants[order])) continue;
        if (k % ggml_blck_size(kind->type) || !supported(kind, orders[order], n, k, 1)) {
            peer_say("absent: %s %s %lldx%lld: not in this ggml on this CPU", kind->format, variants[order], (long long)n,
                     (long long)k);
            continue;
        }
        size_t bytes = ggml_row_size(kind->type, k) * (size_t)n;
        product *o = &products[placed_count++];
        *o = (product){.kind = kind, .variant = variants[order], .n = n, .k = k, .bytes = bytes};
        o->copies = peer_copies(options, bytes);
        place_weights(o, orders[order]);
    }
    return placed_count;
}

static bool run_group(const peer_options *options, product *products, int count, int64_t n, int64_t k, int64_t m) {
    peer_contender contenders[KINDS * MOST_ORDERS];
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
    product products[KINDS * MOST_ORDERS];
    int count = place_all(options, n, k, products);
    bool more = !peer_ended();
    for (int i = 0; i < options->m_count && more; i++) more = run_group(options, products, count, n, k, options->ms[i]);
    for (int i = 0; i < count; i++) drop_weights(&products[i]);
    return more;
}

int main(int argc, char **argv) {
#ifdef HAS_GGML_VERSION
    const char *version = ggml_version();
#else
    const char *version = "unknown";
#endif
    char isa[64];
    snprintf(isa, sizeof isa, "ggml-%s", version);
    peer_options options = peer_start(argc, argv, "ggml", version, isa);
    ggml_log_set(keep_quiet, NULL);
    ggml_backend_load_all();
    device = ggml_backend_dev_by_type(GGML_BACKEND_DEVICE_TYPE_CPU);
    backend = device ? ggml_backend_dev_init(device, NULL) : NULL;
    if (!backend) peer_die("this ggml has no CPU backend");
    find_orders();
    start_threads(options.threads);
    note_features();
    bool more = true;
    for (int s = 0; s < options.shape_count && more; s++) more = run_shape(&options, options.shapes[s].n, options.shapes[s].k);
    return peer_finish();
}
