// Other ways to decode with AMX, for M up to 32. Each output is the same chain over k as the shipped kernel's, to the bit. The
// knobs, set by a line of variants.inc; one that is left out is as shipped:
//
//   AHEAD          tiles expanded ahead of the one that is multiplied: the stores of a tile should have reached the cache when it
//                  is loaded
//   X_AHEAD        steps ahead at which the lines of x are asked for
//   X_TILES        x comes as tiles, so that a tile is 16 lines in a row instead of one line in each of 16 rows
//   L2             weights are asked for into the L2 cache only
//   VALUES_AHEAD, MASKS_AHEAD   bytes ahead at which they are asked for
//   NEAR           with L2: values are asked for a second time, into the L1 cache, this many bytes ahead
//   SPREAD         values are asked for between the lines of a tile, and 8 times instead of 16: enough at 50 % and above
//   PARKED         M > 16: steps that 4 panels are expanded ahead; two passes over them, one for each block of x, whose C waits
//                  in memory meanwhile. x is read once for 4 panels instead of 2
//   PLAIN          with PARKED: a run is expanded before the passes instead of during the passes over the run before
//   SHARED_X       M > 16: steps of x that 4 pairs of panels use one after the other, from the L1 cache; their C wait in memory
//   WIDE           M > 16: 2 blocks of x by 3 panels in 6 tiles of C; two of the three weight tiles are loaded twice
#pragma once

#ifndef AHEAD
#define AHEAD 1
#endif
#if L2
#define HINT _MM_HINT_T1
#else
#define HINT _MM_HINT_T0
#endif
#ifndef VALUES_AHEAD
#define VALUES_AHEAD CK_PREFETCH_BYTES
#endif
#ifndef MASKS_AHEAD
#define MASKS_AHEAD CK_PREFETCH_BYTES
#endif
#ifndef X_TILES
#define X_TILES 0
#endif
#ifndef WIDE
#define WIDE 0
#endif
#ifndef PLAIN
#define PLAIN 0
#endif

// WIDE goes back to the two tiles before.
enum { RING = AHEAD + 2 * WIDE < 4 ? 4 : AHEAD + 2 * WIDE < 8 ? 8 : 16 };

// Where the next tile of a panel begins.
typedef struct {
    const uint32_t *mask, *end;
    const uint16_t *value;
} panel_stream;

typedef struct {
    panel_stream panel[8];
    size_t expanded, taken;
    _Alignas(64) char ring[RING][AMX_TILE_BYTES];
} tile_stream;

// x as the loops read it: `step` bytes from one step to the next, block 1 beginning with row `second` at `block`.
typedef struct {
    const char *at;
    size_t stride, step, block, second;
} x_stream;

CK_INLINE void ask(const void *address, size_t ahead) { _mm_prefetch((const char *)address + ahead, HINT); }

CK_INLINE void expand_next(panel_stream *p, char *tile) {
    if (p->mask == p->end) return;
    ask(p->mask, MASKS_AHEAD);
#if !SPREAD
    for (size_t line = 0; line < AMX_TILE_BYTES; line += 64) ask(p->value, VALUES_AHEAD + line);
#endif
#if NEAR
    for (size_t line = 0; line < AMX_TILE_BYTES / 2; line += 64) _mm_prefetch((const char *)p->value + NEAR + line, _MM_HINT_T0);
    _mm_prefetch((const char *)p->mask + NEAR / 8, _MM_HINT_T0);
#endif
#if SPREAD
    for (size_t line = 0; line < 16; line++) {
        if (line % 2 == 0) ask(p->value, VALUES_AHEAD);
        _mm512_store_si512(tile + 64 * line, ck_expand_bf16(p->mask[line], &p->value));
    }
#else
    p->value = expand_tile(p->mask, p->value, tile);
#endif
    p->mask += 16;
}

CK_INLINE void open_panels(tile_stream *t, const ck_bitmap_weights *w, size_t panel, int panels, size_t steps) {
    for (int slot = 0; slot < panels; slot++) {
        t->panel[slot].mask = (const uint32_t *)w->bitmap + (panel + (size_t)slot) * steps * 16;
        t->panel[slot].end = t->panel[slot].mask + steps * 16;
        t->panel[slot].value = (const uint16_t *)w->values + w->offsets[panel + (size_t)slot];
    }
    t->expanded = t->taken = 0;
}

CK_INLINE void expand_into_ring(tile_stream *t, int slot) {
    if (t->panel[slot].mask != t->panel[slot].end) expand_next(&t->panel[slot], t->ring[t->expanded++ % RING]);
}

CK_INLINE const char *take_tile(tile_stream *t) {
    ck_tile_fence();
    return t->ring[t->taken++ % RING];
}

// Tiles of `panels` panels: step by step, in a step slot by slot.
CK_INLINE const char *next_tile(tile_stream *t, int slot, int panels) {
    expand_into_ring(t, (slot + AHEAD) % panels);
    return take_tile(t);
}

CK_INLINE x_stream x_of(const ck_gemm_call *call, int overlap) {
    const size_t blocks = (call->m + 15) / 16;
    x_stream x = {(const char *)call->x, call->x_stride, 64, 16 * call->x_stride, 16};
    if (X_TILES) return (x_stream){x.at, 64, blocks * AMX_TILE_BYTES, AMX_TILE_BYTES, 16};
    if (overlap) x.second = call->m - 16, x.block = x.second * call->x_stride;
    return x;
}

CK_INLINE void ask_x(const ck_gemm_call *call, const x_stream *x) {
#if X_AHEAD
    for (size_t m = 0; m < call->m; m++)
        _mm_prefetch(x->at + X_AHEAD * x->step + m % 16 * x->stride + m / 16 * x->block, _MM_HINT_T0);
#else
    (void)call, (void)x;
#endif
}

CK_INLINE void finish_block(const ck_gemm_call *call, size_t first, size_t panel, const char *c) {
    for (size_t row = 0; row < 16 && first + row < call->m; row++) amx_finish(call, NULL, first + row, panel, c + 64 * row);
}

CK_INLINE void configure_full(void) {
    ck_tile_config config = {.palette = 1};
    for (int tile = 0; tile < 8; tile++) ck_tile_shape(&config, tile, 16, 64);
    ck_tile_configure(&config);
}

// The shipped loop: 1 block x 4 panels, 2 blocks x 2 panels, or a single panel.
CK_INLINE void step_1(tile_stream *t, const x_stream *x, int panels) {
    ck_tile_load(5, x->at, x->stride);
    ck_tile_load(6, next_tile(t, 0, panels), 64);
    amx_dot(0, 5, 6);
    if (panels == 1) return;
    ck_tile_load(7, next_tile(t, 1, panels), 64);
    amx_dot(1, 5, 7);
    ck_tile_load(6, next_tile(t, 2, panels), 64);
    amx_dot(2, 5, 6);
    ck_tile_load(7, next_tile(t, 3, panels), 64);
    amx_dot(3, 5, 7);
}

CK_INLINE void step_2(tile_stream *t, const x_stream *x, int panels) {
    ck_tile_load(4, x->at, x->stride);
    ck_tile_load(6, next_tile(t, 0, panels), 64);
    amx_dot(0, 4, 6);
    ck_tile_load(5, x->at + x->block, x->stride);
    amx_dot(1, 5, 6);
    if (panels == 1) return;
    ck_tile_load(7, next_tile(t, 1, panels), 64);
    amx_dot(2, 4, 7);
    amx_dot(3, 5, 7);
}

CK_INLINE void streamed(const ck_gemm_call *call, const ck_bitmap_weights *w, size_t panel, int panels, int blocks,
                        size_t steps) {
    tile_stream t;
    x_stream x = x_of(call, 0);
    open_panels(&t, w, panel, panels, steps);
    for (int tile = 0; tile < AHEAD; tile++) expand_into_ring(&t, tile % panels);
    amx_zero_c(blocks * panels);
    for (size_t step = 0; step < steps; step++, x.at += x.step) {
        ask_x(call, &x);
        if (blocks == 1) step_1(&t, &x, panels);
        else step_2(&t, &x, panels);
    }
    _Alignas(64) char c[4][1024];
    amx_store_c(c, blocks * panels);
    for (int slot = 0; slot < panels; slot++)
        for (int block = 0; block < blocks; block++)
            finish_block(call, 16 * (size_t)block, panel + (size_t)slot, c[slot * blocks + block]);
}

CK_INLINE void load_c(char (*c)[1024]) {
    ck_tile_load(0, c[0], 64);
    ck_tile_load(1, c[1], 64);
    ck_tile_load(2, c[2], 64);
    ck_tile_load(3, c[3], 64);
}

#if PARKED
typedef struct {
    tile_stream t;
    size_t next;  // tiles of the coming run that are expanded
    _Alignas(64) char run[2][PARKED * 4][AMX_TILE_BYTES];
} parked_run;

CK_INLINE void expand_run_tile(parked_run *r, char (*run)[AMX_TILE_BYTES]) {
    if (r->next < PARKED * 4) expand_next(&r->t.panel[r->next % 4], run[r->next]);
    r->next++;
}

// One block of x over a run; meanwhile 2 tiles of the next run for each step.
CK_INLINE void pass(parked_run *r, const char *x, const x_stream *stream, size_t length, int current) {
    for (size_t step = 0; step < length; step++, x += stream->step) {
        const char *b = r->run[current][step * 4];
        ck_tile_load(4, x, stream->stride);
        ck_tile_load(6, b, 64);
        amx_dot(0, 4, 6);
        if (!PLAIN) expand_run_tile(r, r->run[!current]);
        ck_tile_load(7, b + AMX_TILE_BYTES, 64);
        amx_dot(1, 4, 7);
        ck_tile_load(6, b + 2 * AMX_TILE_BYTES, 64);
        amx_dot(2, 4, 6);
        if (!PLAIN) expand_run_tile(r, r->run[!current]);
        ck_tile_load(7, b + 3 * AMX_TILE_BYTES, 64);
        amx_dot(3, 4, 7);
        ck_tile_fence();
    }
}

static void parked(const ck_gemm_call *call, const ck_bitmap_weights *w, size_t panel, size_t steps) {
    parked_run r;
    x_stream x = x_of(call, 1);
    _Alignas(64) char c[2][4][1024];
    open_panels(&r.t, w, panel, 4, steps);
    int current = 0;
    for (size_t first = 0; first < steps; first += PARKED, x.at += PARKED * x.step, current ^= !PLAIN) {
        if (PLAIN || first == 0)
            for (r.next = 0; r.next < PARKED * 4;) expand_run_tile(&r, r.run[current]);
        r.next = 0;
        ck_tile_fence();
        for (int block = 0; block < 2; block++) {
            if (first == 0) amx_zero_c(4);
            else load_c(c[block]);
            pass(&r, x.at + (block ? x.block : 0), &x, amx_min(PARKED, steps - first), current);
            amx_store_c(c[block], 4);
        }
    }
    for (size_t slot = 0; slot < 4; slot++) {
        finish_block(call, 0, panel + slot, c[0][slot]);
        finish_block(call, x.second, panel + slot, c[1][slot]);
    }
}
#endif

#if SHARED_X
// Tiles in the order of the loops below: a run of a pair of panels, then of the next pair.
CK_INLINE const char *next_shared(tile_stream *t) {
    expand_into_ring(t, (int)(t->expanded / (2 * SHARED_X) % 4 * 2 + t->expanded % 2));
    return take_tile(t);
}

CK_INLINE void shared_run(tile_stream *t, const ck_gemm_call *call, x_stream x, int first_pair) {
    for (size_t step = 0; step < SHARED_X; step++, x.at += x.step) {
        if (first_pair) ask_x(call, &x);
        ck_tile_load(4, x.at, x.stride);
        ck_tile_load(6, next_shared(t), 64);
        amx_dot(0, 4, 6);
        ck_tile_load(5, x.at + x.block, x.stride);
        amx_dot(1, 5, 6);
        ck_tile_load(7, next_shared(t), 64);
        amx_dot(2, 4, 7);
        amx_dot(3, 5, 7);
    }
}

// steps is a multiple of SHARED_X.
static void shared_x(const ck_gemm_call *call, const ck_bitmap_weights *w, size_t panel, size_t steps) {
    tile_stream t;
    x_stream x = x_of(call, 0);
    _Alignas(64) char c[4][4][1024];
    open_panels(&t, w, panel, 8, steps);
    for (int tile = 0; tile < AHEAD; tile++) expand_into_ring(&t, tile % 2);
    for (size_t first = 0; first < steps; first += SHARED_X, x.at += SHARED_X * x.step)
        for (int pair = 0; pair < 4; pair++) {
            if (first == 0) amx_zero_c(4);
            else load_c(c[pair]);
            shared_run(&t, call, x, pair == 0);
            amx_store_c(c[pair], 4);
        }
    for (size_t slot = 0; slot < 8; slot++)
        for (size_t block = 0; block < 2; block++)
            finish_block(call, 16 * block, panel + slot, c[slot / 2][slot % 2 * 2 + block]);
}
#endif

#if WIDE
// C 0 1 2 / 3 4 5 for blocks of x (tile 6) by panels (tile 7).
static void wide(const ck_gemm_call *call, const ck_bitmap_weights *w, size_t panel, size_t steps) {
    tile_stream t;
    x_stream x = x_of(call, 1);
    open_panels(&t, w, panel, 3, steps);
    for (int tile = 0; tile < AHEAD; tile++) expand_into_ring(&t, tile % 3);
    amx_zero_c(4);
    ck_tile_zero(4);
    ck_tile_zero(5);
    for (size_t step = 0; step < steps; step++, x.at += x.step) {
        ask_x(call, &x);
        ck_tile_load(6, x.at, x.stride);
        const char *const b0 = next_tile(&t, 0, 3);
        ck_tile_load(7, b0, 64);
        amx_dot(0, 6, 7);
        const char *const b1 = next_tile(&t, 1, 3);
        ck_tile_load(7, b1, 64);
        amx_dot(1, 6, 7);
        ck_tile_load(7, next_tile(&t, 2, 3), 64);
        amx_dot(2, 6, 7);
        ck_tile_load(6, x.at + x.block, x.stride);
        amx_dot(5, 6, 7);
        ck_tile_load(7, b1, 64);
        amx_dot(4, 6, 7);
        ck_tile_load(7, b0, 64);
        amx_dot(3, 6, 7);
        ck_tile_fence();
    }
    _Alignas(64) char c[6][1024];
    amx_store_c(c, 4);
    ck_tile_store(4, c[4], 64);
    ck_tile_store(5, c[5], 64);
    ck_tile_fence();
    for (size_t slot = 0; slot < 3; slot++) {
        finish_block(call, 0, panel + slot, c[slot]);
        finish_block(call, x.second, panel + slot, c[3 + slot]);
    }
}
#endif

static void candidate_run(const ck_gemm_call *call, const ck_bitmap_weights *w, size_t panel, size_t panel_end) {
    const size_t steps = ck_k_padded(call->k, CK_BF16) / 32;
#if PARKED || WIDE
    if (call->m > 16) {
        configure_full();
#if PARKED
        for (; panel + 4 <= panel_end; panel += 4) parked(call, w, panel, steps);
#else
        for (; panel + 3 <= panel_end; panel += 3) wide(call, w, panel, steps);
#endif
    }
#endif
    amx_configure_decode(call->m);
#if SHARED_X
    if (call->m > 16 && steps % SHARED_X == 0)
        for (; panel + 8 <= panel_end; panel += 8) shared_x(call, w, panel, steps);
#endif
    if (call->m <= 16)
        for (; panel + 4 <= panel_end; panel += 4) streamed(call, w, panel, 4, 1, steps);
    else
        for (; panel + 2 <= panel_end; panel += 2) streamed(call, w, panel, 2, 2, steps);
    for (; panel < panel_end; panel++)
        if (call->m <= 16) streamed(call, w, panel, 1, 1, steps);
        else streamed(call, w, panel, 1, 2, steps);
    ck_tile_release();
}
