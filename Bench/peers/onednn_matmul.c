// Times oneDNN's matmul on the CPU through its C interface, cold, in kbench's JSON form: bf16 and int8 weights, in the
// plain row order and in the order that the library asks for, and its packed sparse encoding of int8 weights.

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <oneapi/dnnl/dnnl.h>

#include "peer.h"

#if DNNL_VERSION_MAJOR < 3
#error "oneDNN 3.0 or later is needed: 2.x has another matmul interface and no run-time scales"
#endif

// The packed encoding was experimental, behind a build option, before 3.9; earlier than 3.5 it is not asked for.
#if DNNL_VERSION_MAJOR > 3 || DNNL_VERSION_MINOR >= 9 || (defined(DNNL_EXPERIMENTAL_SPARSE) && DNNL_VERSION_MINOR >= 5)
#define HAS_PACKED 1
#else
#define HAS_PACKED 0
#endif

typedef enum { PLAIN, ANY, PACKED } order;

typedef struct {
    const char *op, *format, *variant;
    dnnl_data_type_t type;
    order order;
} kind;

static const kind kinds[] = {
    {"dense_gemm", "bf16", "matmul-plain", dnnl_bf16, PLAIN},
    {"dense_gemm", "bf16", "matmul-any", dnnl_bf16, ANY},
    {"dense_gemm", "int8", "matmul-any-int8", dnnl_s8, ANY},
    {"bitmap_gemm", "bitmap-int8", "matmul-packed-int8", dnnl_s8, PACKED},
};
enum { KINDS = sizeof kinds / sizeof kinds[0] };

typedef struct {
    const kind *kind;
    int64_t n, k, m;
    double density;  // of the weights; 1 unless they are packed
    bool narrow;     // weights of 7 bits
    dnnl_primitive_t primitive;
    dnnl_memory_t source, destination, source_scale, weight_scale;
    dnnl_memory_t *weights;  // distinct copies
    int copies;
    size_t bytes;
} matmul;

static dnnl_engine_t engine;
static dnnl_stream_t stream;

static void must(dnnl_status_t status, const char *what) {
    if (status != dnnl_success) peer_die("oneDNN could not %s: status %d", what, (int)status);
}

static void *data(dnnl_memory_t memory) {
    void *address;
    must(dnnl_memory_get_data_handle(memory, &address), "give a memory's address");
    return address;
}

static dnnl_memory_desc_t layout(int64_t rows, int64_t columns, dnnl_data_type_t type, dnnl_format_tag_t tag) {
    dnnl_memory_desc_t desc;
    must(dnnl_memory_desc_create_with_tag(&desc, 2, (dnnl_dims_t){rows, columns}, type, tag), "describe a matrix");
    return desc;
}

static dnnl_memory_t memory(const_dnnl_memory_desc_t desc) {
    dnnl_memory_t created;
    must(dnnl_memory_create(&created, desc, engine, DNNL_MEMORY_ALLOCATE), "allocate a matrix");
    return created;
}

static dnnl_memory_t matrix(int64_t rows, int64_t columns, dnnl_data_type_t type, dnnl_format_tag_t tag) {
    dnnl_memory_desc_t desc = layout(rows, columns, type, tag);
    dnnl_memory_t created = memory(desc);
    dnnl_memory_desc_destroy(desc);
    return created;
}

static dnnl_memory_t scales(int64_t count, float value) {
    dnnl_memory_desc_t desc;
    must(dnnl_memory_desc_create_with_tag(&desc, 1, (dnnl_dims_t){count}, dnnl_f32, dnnl_a), "describe the scales");
    dnnl_memory_t created = memory(desc);
    dnnl_memory_desc_destroy(desc);
    float *values = data(created);
    for (int64_t i = 0; i < count; i++) values[i] = value;
    return created;
}

// --- The matrices ---------------------------------------------------------------------------------------------------

// Without VNNI, oneDNN adds pairs of int8 products in 16 bits, which holds only if the weights keep to 7 bits.
static bool narrow_weights(const matmul *o) {
    int isa = (int)dnnl_get_effective_cpu_isa(), short_vnni = dnnl_cpu_isa_avx2_vnni, long_vnni = dnnl_cpu_isa_avx512_core_vnni;
    return o->kind->type == dnnl_s8 && (isa & short_vnni) != short_vnni && (isa & long_vnni) != long_vnni;
}

static int weight_code(const matmul *o, int64_t row, int64_t column) {
    uint64_t i = (uint64_t)(row * o->k + column);
    if (o->density < 1 && !peer_keeps(i, o->density)) return 0;
    return o->narrow ? peer_code(i) / 2 : peer_code(i);
}

static void put(void *values, dnnl_data_type_t type, int64_t i, int code, float scale) {
    if (type == dnnl_s8) ((int8_t *)values)[i] = (int8_t)code;
    else ((uint16_t *)values)[i] = peer_bf16((float)code * scale);
}

// The weights as rows of outputs, which oneDNN sees as a K x N matrix in the order ba.
static dnnl_memory_t plain_weights(const matmul *o, int64_t *nonzeros) {
    dnnl_memory_t plain = matrix(o->k, o->n, o->kind->type, dnnl_ba);
    void *values = data(plain);
    *nonzeros = 0;
    for (int64_t row = 0; row < o->n; row++)
        for (int64_t column = 0; column < o->k; column++) {
            int code = weight_code(o, row, column);
            put(values, o->kind->type, row * o->k + column, code, PEER_WEIGHT_SCALE);
            *nonzeros += code != 0;
        }
    return plain;
}

static void fill_source(const matmul *o) {
    void *values = data(o->source);
    for (int64_t i = 0; i < o->m * o->k; i++) put(values, o->kind->type, i, peer_code(~(uint64_t)i), PEER_INPUT_SCALE);
}

#if HAS_PACKED
static dnnl_memory_desc_t packed_layout(const matmul *o, int64_t nonzeros) {
    dnnl_memory_desc_t desc;
    must(dnnl_memory_desc_create_with_packed_encoding(&desc, 2, (dnnl_dims_t){o->k, o->n}, o->kind->type, nonzeros),
         "describe packed weights");
    return desc;
}

// Values, offsets and bitmap.
static size_t packed_bytes(const_dnnl_memory_desc_t desc) {
    size_t bytes = 0;
    for (int part = 0; part < 3; part++) bytes += dnnl_memory_desc_get_size_v2(desc, part);
    return bytes;
}

static dnnl_memory_t packed_memory(const_dnnl_memory_desc_t desc) {
    dnnl_memory_t created;
    void *parts[3] = {DNNL_MEMORY_ALLOCATE, DNNL_MEMORY_ALLOCATE, DNNL_MEMORY_ALLOCATE};
    must(dnnl_memory_create_v2(&created, desc, engine, 3, parts), "allocate packed weights");
    return created;
}
#else
static dnnl_memory_desc_t packed_layout(const matmul *o, int64_t nonzeros) {
    (void)o, (void)nonzeros;
    return NULL;
}
static size_t packed_bytes(const_dnnl_memory_desc_t desc) { return dnnl_memory_desc_get_size(desc); }
static dnnl_memory_t packed_memory(const_dnnl_memory_desc_t desc) { return memory(desc); }
#endif

// --- One contender --------------------------------------------------------------------------------------------------

// int8 operands carry their scales at run time: one for the activations, one per output for the weights.
static dnnl_primitive_attr_t attributes(const matmul *o) {
    dnnl_primitive_attr_t attr;
    must(dnnl_primitive_attr_create(&attr), "create attributes");
    if (o->kind->type == dnnl_s8) {
        must(dnnl_primitive_attr_set_scales_mask(attr, DNNL_ARG_SRC, 0), "scale the activations");
        must(dnnl_primitive_attr_set_scales_mask(attr, DNNL_ARG_WEIGHTS, 1 << 1), "scale the weights");
    }
    return attr;
}

static dnnl_memory_desc_t wanted_layout(const matmul *o, int64_t nonzeros) {
    if (o->kind->order == PACKED) return packed_layout(o, nonzeros);
    return layout(o->k, o->n, o->kind->type, o->kind->order == ANY ? dnnl_format_tag_any : dnnl_ba);
}

static void pack_copies(matmul *o, dnnl_memory_t plain, const_dnnl_memory_desc_t desc, const peer_options *options) {
    bool packed = o->kind->order == PACKED;
    size_t scale_bytes = o->kind->type == dnnl_s8 ? sizeof(float) * (size_t)o->n : 0;
    o->bytes = scale_bytes + (packed ? packed_bytes(desc) : dnnl_memory_desc_get_size(desc));
    o->copies = peer_copies(options, o->bytes);
    o->weights = peer_allocate((size_t)o->copies * sizeof *o->weights);
    const_dnnl_memory_desc_t plain_desc;
    must(dnnl_memory_get_memory_desc(plain, &plain_desc), "describe the plain weights");
    dnnl_primitive_desc_t reorder_desc;
    dnnl_primitive_t reorder;
    must(dnnl_reorder_primitive_desc_create(&reorder_desc, plain_desc, engine, desc, engine, NULL), "plan the packing");
    must(dnnl_primitive_create(&reorder, reorder_desc), "prepare the packing");
    for (int copy = 0; copy < o->copies; copy++) {
        o->weights[copy] = packed ? packed_memory(desc) : memory(desc);
        dnnl_exec_arg_t arguments[] = {{DNNL_ARG_FROM, plain}, {DNNL_ARG_TO, o->weights[copy]}};
        must(dnnl_primitive_execute(reorder, stream, 2, arguments), "pack the weights");
    }
    must(dnnl_stream_wait(stream), "finish packing");
    dnnl_primitive_destroy(reorder);
    dnnl_primitive_desc_destroy(reorder_desc);
}

// False: this oneDNN has no such matmul on this CPU, and the terminal says so.
static bool prepare(matmul *o, const peer_options *options) {
    if (o->kind->order == PACKED && !HAS_PACKED) {
        peer_say("absent: %s: oneDNN %s was built without the packed encoding", o->kind->variant, options->version);
        return false;
    }
    int64_t nonzeros;
    dnnl_memory_t plain = plain_weights(o, &nonzeros);
    dnnl_memory_desc_t source = layout(o->m, o->k, o->kind->type, dnnl_ab), destination = layout(o->m, o->n, dnnl_f32, dnnl_ab);
    dnnl_memory_desc_t weights = wanted_layout(o, nonzeros);
    dnnl_primitive_attr_t attr = attributes(o);
    dnnl_primitive_desc_t desc = NULL;
    dnnl_status_t status = dnnl_matmul_primitive_desc_create(&desc, engine, source, weights, NULL, destination, attr);
    if (status == dnnl_success) {
        must(dnnl_primitive_create(&o->primitive, desc), "create the matmul");
        const char *name = "";
        dnnl_primitive_desc_query(desc, dnnl_query_impl_info_str, 0, &name);
        peer_note(o->kind->variant, name);
        o->source = matrix(o->m, o->k, o->kind->type, dnnl_ab);
        o->destination = matrix(o->m, o->n, dnnl_f32, dnnl_ab);
        o->source_scale = scales(1, PEER_INPUT_SCALE);
        o->weight_scale = scales(o->n, PEER_WEIGHT_SCALE);
        fill_source(o);
        pack_copies(o, plain, dnnl_primitive_desc_query_md(desc, dnnl_query_weights_md, 0), options);
        dnnl_primitive_desc_destroy(desc);
    } else {
        peer_say("absent: %s %lldx%lld M=%lld: oneDNN %s has no such matmul on this CPU (status %d)", o->kind->variant,
                 (long long)o->n, (long long)o->k, (long long)o->m, options->version, (int)status);
    }
    dnnl_primitive_attr_destroy(attr);
    dnnl_memory_desc_destroy(weights), dnnl_memory_desc_destroy(source), dnnl_memory_desc_destroy(destination);
    dnnl_memory_destroy(plain);
    return status == dnnl_success;
}

static void dispose(matmul *o) {
    for (int copy = 0; copy < o->copies; copy++) dnnl_memory_destroy(o->weights[copy]);
    free(o->weights);
    dnnl_memory_destroy(o->source), dnnl_memory_destroy(o->destination);
    dnnl_memory_destroy(o->source_scale), dnnl_memory_destroy(o->weight_scale);
    dnnl_primitive_destroy(o->primitive);
}

static void run(void *state, int copy) {
    matmul *o = state;
    dnnl_exec_arg_t arguments[] = {
        {DNNL_ARG_SRC, o->source},
        {DNNL_ARG_WEIGHTS, o->weights[copy]},
        {DNNL_ARG_DST, o->destination},
        {DNNL_ARG_ATTR_SCALES | DNNL_ARG_SRC, o->source_scale},
        {DNNL_ARG_ATTR_SCALES | DNNL_ARG_WEIGHTS, o->weight_scale},
    };
    must(dnnl_primitive_execute(o->primitive, stream, o->kind->type == dnnl_s8 ? 5 : 3, arguments), "run the matmul");
    must(dnnl_stream_wait(stream), "finish the matmul");
}

static const float *output(void *state) { return data(((matmul *)state)->destination); }

static void weights(void *state, int64_t row, float *w) {
    matmul *o = state;
    for (int64_t column = 0; column < o->k; column++) w[column] = (float)weight_code(o, row, column) * PEER_WEIGHT_SCALE;
}

// --- The run --------------------------------------------------------------------------------------------------------

static bool run_group(const peer_options *options, int64_t n, int64_t k, int64_t m) {
    matmul states[KINDS];
    peer_contender contenders[KINDS];
    int prepared = 0, ready = 0;
    for (int i = 0; i < KINDS && !peer_ended(); i++) {
        const kind *kind = &kinds[i];
        if (!peer_wants(kind->variant)) continue;
        matmul *o = &states[prepared];
        *o = (matmul){.kind = kind, .n = n, .k = k, .m = m, .density = kind->order == PACKED ? options->density : 1};
        o->narrow = narrow_weights(o);
        if (!prepare(o, options)) continue;
        prepared++;
        // Products of codes are whole numbers, so only the sums and the scales round: fp32 on the library's side.
        peer_slack slack = {.magnitude = (double)k * 0x1p-24, .result = 0x1p-22};
        contenders[ready] = (peer_contender){kind->op, kind->format, kind->variant, o->bytes,   o->copies,  run,
                                             output,   weights,      slack,         .state = o, .error = 0, .bound = 0};
        ready += peer_check(&contenders[ready], n, k, m);
    }
    bool more = peer_time(options, contenders, ready, n, k, m);
    for (int i = 0; i < prepared; i++) dispose(&states[i]);
    return more;
}

int main(int argc, char **argv) {
    char version[32], isa[32];
    const dnnl_version_t *library = dnnl_version();
    snprintf(version, sizeof version, "%d.%d.%d", library->major, library->minor, library->patch);
    snprintf(isa, sizeof isa, "onednn-%d.%d", library->major, library->minor);
    peer_options options = peer_start(argc, argv, "onednn", version, isa);
    must(dnnl_engine_create(&engine, dnnl_cpu, 0), "create a CPU engine");
    must(dnnl_stream_create(&stream, engine, dnnl_stream_default_flags), "create a stream");
    bool more = true;
    for (int s = 0; s < options.shape_count; s++)
        for (int i = 0; i < options.m_count && more; i++)
            more = run_group(&options, options.shapes[s].n, options.shapes[s].k, options.ms[i]);
    dnnl_stream_destroy(stream);
    dnnl_engine_destroy(engine);
    return peer_finish();
}
