// Greedy text of llama.cpp, one JSON line: the tokens, and for each by how much its logit exceeds the second best. Where two
// engines part, that gap says whether rounding can be the reason.
//
//     llama_generate MODEL.gguf TOKENS THREADS PROMPT

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "llama.h"

static int fail(const char *what) {
    fprintf(stderr, "llama_generate: %s\n", what);
    return 1;
}

static void silent(enum ggml_log_level level, const char *text, void *data) { (void)level, (void)text, (void)data; }

static void print_quoted(const char *text, size_t length) {
    putchar('"');
    for (size_t i = 0; i < length; i++) {
        unsigned char byte = (unsigned char)text[i];
        if (byte == '"' || byte == '\\') {
            printf("\\%c", byte);
        } else if (byte < 0x20) {
            printf("\\u%04x", byte);
        } else {
            putchar(byte);
        }
    }
    putchar('"');
}

// The index of the largest logit, and how far the next one is below it.
static llama_token best(const float *logits, int count, float *gap) {
    int first = 0;
    for (int i = 1; i < count; i++)
        if (logits[i] > logits[first]) first = i;
    float second = -1e30f;
    for (int i = 0; i < count; i++)
        if (i != first && logits[i] > second) second = logits[i];
    *gap = logits[first] - second;
    return first;
}

int main(int argc, char **argv) {
    if (argc != 5) return fail("usage: llama_generate MODEL.gguf TOKENS THREADS PROMPT");
    int wanted = atoi(argv[2]), threads = atoi(argv[3]);
    if (wanted < 1 || threads < 1) return fail("TOKENS and THREADS are at least 1");
    llama_log_set(silent, NULL);
    llama_backend_init();
    struct llama_model *model = llama_model_load_from_file(argv[1], llama_model_default_params());
    if (!model) return fail("the model cannot be loaded");
    const struct llama_vocab *vocabulary = llama_model_get_vocab(model);

    int length = (int)strlen(argv[4]);
    llama_token *tokens = malloc(sizeof *tokens * (size_t)(length + 8 + wanted));
    if (!tokens) return fail("out of memory");
    int count = llama_tokenize(vocabulary, argv[4], length, tokens, length + 8, true, false);
    if (count < 1) return fail("the prompt has no tokens");

    struct llama_context_params parameters = llama_context_default_params();
    parameters.n_ctx = (uint32_t)(count + wanted);
    parameters.n_batch = parameters.n_ubatch = (uint32_t)count;
    parameters.n_threads = parameters.n_threads_batch = threads;
    struct llama_context *context = llama_init_from_model(model, parameters);
    if (!context) return fail("no context");

    size_t capacity = 256 * (size_t)(wanted + 1), written = 0;
    char *text = malloc(capacity);
    float *gaps = malloc(sizeof *gaps * (size_t)wanted);
    if (!text || !gaps) return fail("out of memory");
    int made = 0;
    struct llama_batch batch = llama_batch_get_one(tokens, count);
    while (made < wanted) {
        if (llama_decode(context, batch)) return fail("llama_decode");
        llama_token *next = tokens + count + made;
        *next = best(llama_get_logits_ith(context, -1), llama_vocab_n_tokens(vocabulary), gaps + made);
        made++;
        if (llama_vocab_is_eog(vocabulary, *next)) break;
        int bytes = llama_token_to_piece(vocabulary, *next, text + written, (int32_t)(capacity - written), 0, true);
        if (bytes < 0) return fail("llama_token_to_piece");
        written += (size_t)bytes;
        batch = llama_batch_get_one(next, 1);
    }

    printf("{\"tokens\": [");
    for (int i = 0; i < made; i++) printf("%s%d", i ? ", " : "", tokens[count + i]);
    printf("], \"gaps\": [");
    for (int i = 0; i < made; i++) printf("%s%.4f", i ? ", " : "", (double)gaps[i]);
    printf("], \"text\": ");
    print_quoted(text, written);
    printf("}\n");
    llama_free(context);
    llama_model_free(model);
    return 0;
}
