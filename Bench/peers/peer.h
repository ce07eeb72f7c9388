// What the C peers share: the command line, the synthetic matrices, the check, the timing loop and the report.
//
// A peer fills one peer_contender per way of computing Y[M x N] = X[M x K] W[N x K]^T, has each checked, and hands all
// of one shape and M to peer_time, which runs them in turn and adds a row of kbench's JSON form for each.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct {
    int64_t n, k;  // outputs, inputs
} peer_shape;

typedef struct {
    const char *implementation, *version, *isa;
    peer_shape *shapes;
    int64_t *ms;
    int shape_count, m_count;
    int threads;
    const int *cpus;     // one per thread
    size_t cold_bytes;   // a contender's copies together are at least this large
    double min_seconds;  // of one row
    int min_runs;        // of one row
    double density;      // of sparse weights
    const char *only;    // variants to run, separated by commas; NULL: all
    const char *json;    // NULL: none; "-": standard output
} peer_options;

// Reads the command line and settles the process: one thread per core, huge pages for large allocations. The latter must
// be known before the libraries load, so the program may start once more. Exits with a message on bad usage.
peer_options peer_start(int argc, char **argv, const char *implementation, const char *version, const char *isa);

// Whether --only lets this variant run.
bool peer_wants(const char *variant);

// A fact about the library for the report's machine part, such as ("features", "AVX2 AMX_INT8"); the first one counts.
void peer_note(const char *key, const char *value);

// Prints a line on the terminal: standard error if the report goes to standard output.
void peer_say(const char *format, ...) __attribute__((format(printf, 1, 2)));

// Weight i of a matrix is peer_code(i) x 2^-10 and activation i is peer_code(~i) x 2^-5: whole numbers in -127..127, exact
// in int8, bf16 and fp32, so that no format's loss hides in the check. A sparse matrix keeps the weights that
// peer_keeps names.
int8_t peer_code(uint64_t i);
bool peer_keeps(uint64_t i, double density);
#define PEER_WEIGHT_SCALE 0x1p-10f
#define PEER_INPUT_SCALE  0x1p-5f

uint16_t peer_bf16(float value);

// Memory or the end of the program, with the size in the message.
void *peer_allocate(size_t bytes);

// Ends the program with a message: for what makes the whole run pointless.
void peer_die(const char *format, ...) __attribute__((format(printf, 1, 2), noreturn));

// How far a correct result y may be from the exact sum: magnitude sum |x||w| + result |y| + weights sum |w|.
typedef struct {
    double magnitude, result, weights;
} peer_slack;

typedef struct {
    const char *op, *format, *variant;
    size_t bytes;  // of one packed copy
    int copies;
    void (*run)(void *state, int copy);
    const float *(*output)(void *state);                  // Y after the last run, M x N, rows contiguous
    void (*weights)(void *state, int64_t row, float *w);  // row `row` of the matrix that the packed copy stands for
    peer_slack slack;
    void *state;
    double error, bound;  // filled by peer_check, in units of sum |x||w|
} peer_contender;

// The copies that a contender of this size needs.
int peer_copies(const peer_options *options, size_t bytes);

// Runs the first and the last copy and compares a sample of outputs with exact sums. False: the contender is wrong, has
// been reported so, and must not be timed.
bool peer_check(peer_contender *c, int64_t n, int64_t k, int64_t m);

// Times checked contenders in turn and adds a row for each. False: the budget is spent or a signal came.
bool peer_time(const peer_options *options, peer_contender *contenders, int count, int64_t n, int64_t k, int64_t m);

// True once the budget is spent or a signal came.
bool peer_ended(void);

// Writes the report and returns the program's exit status: 1 if any contender was wrong.
int peer_finish(void);
