/* Quantization per token and per group: bound by memory, held against the triad. */
#include "bench.h"

#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

typedef struct quantize_scheme {
    const char *name;
    int32_t source, type, granularity;
    int64_t group_size;
} quantize_scheme;

static const quantize_scheme schemes[] = {
    {"s8-per-token", KRN_TYPE_F32, KRN_TYPE_S8, KRN_GRANULARITY_TOKEN, 0},
    {"s8-per-token-bf16", KRN_TYPE_BF16, KRN_TYPE_S8, KRN_GRANULARITY_TOKEN, 0},
    {"s4-g128-bf16", KRN_TYPE_BF16, KRN_TYPE_S4, KRN_GRANULARITY_GROUP, 128},
};

typedef struct quantize_state {
    krn_cuda_context *context;
    const quantize_scheme *scheme;
    int64_t rows, cols, source_bytes, code_bytes, scale_bytes, workspace_bytes;
    char *source, *codes, *scales, *workspace;
    int32_t *flags;
} quantize_state;

static int64_t code_bytes(const quantize_scheme *s, int64_t rows, int64_t cols) {
    return rows * cols * bench_bits(s->type) / 8;
}

static int64_t scale_bytes(const quantize_scheme *s, int64_t rows, int64_t cols) {
    return rows * (s->group_size == 0 ? 1 : cols / s->group_size) * 4;
}

static int32_t quantize_cases(bench_case *cases, int32_t most) {
    static const int64_t rows[] = {1, 512, 4096, 8192};
    enum { COLS = 8192, LARGE_ROWS = 4096 };
    int32_t count = 0;
    for (size_t scheme = 0; scheme < sizeof schemes / sizeof schemes[0]; scheme++)
        for (size_t i = 0; i < sizeof rows / sizeof rows[0] && count < most; i++) {
            const quantize_scheme *const s = &schemes[scheme];
            bench_case *const c = &cases[count++];
            *c = (bench_case){.m = rows[i], .n = COLS, .scheme = (int32_t)scheme};
            c->bytes = (double)(rows[i] * COLS * bench_bits(s->source) / 8 + code_bytes(s, rows[i], COLS) +
                                scale_bytes(s, rows[i], COLS));
            snprintf(c->id, sizeof c->id, "quantize/%s/rows%lld-n%d", s->name, (long long)rows[i], COLS);
            if (rows[i] >= LARGE_ROWS)
                bench_add_bar(c, BENCH_OF_TRIAD, 0.85);
        }
    return count;
}

static void quantize_shrink(bench_case *c) {
    c->m = c->m > 3 ? 3 : c->m;
    c->n = 1280;
}

static krn_quantize_options options_of(const quantize_scheme *s) {
    return (krn_quantize_options){.struct_size = sizeof(krn_quantize_options),
                                  .type = s->type,
                                  .granularity = s->granularity,
                                  .group_size = s->group_size};
}

static void *quantize_open(bench_device *device, const bench_case *c, int32_t rotations) {
    quantize_state *const state = bench_allocate(sizeof *state);
    const quantize_scheme *const s = &schemes[c->scheme];
    const krn_quantize_options options = options_of(s);
    *state = (quantize_state){.context = device->context,
                              .scheme = s,
                              .rows = c->m,
                              .cols = c->n,
                              .source_bytes = c->m * c->n * bench_bits(s->source) / 8,
                              .code_bytes = code_bytes(s, c->m, c->n),
                              .scale_bytes = scale_bytes(s, c->m, c->n),
                              .flags = device->flags};
    /* Rows of every rotation begin where a device wants them. */
    state->scale_bytes = (state->scale_bytes + 255) / 256 * 256;
    bench_check(krn_cuda_quantize_workspace_size(&options, &state->workspace_bytes), "asking for the workspace");
    state->source = bench_activations(device, s->source, rotations * c->m * c->n, 8);
    state->codes = bench_random_memory(device, rotations * state->code_bytes, 9);
    state->scales = bench_random_memory(device, rotations * state->scale_bytes, 10);
    if (state->workspace_bytes > 0)
        state->workspace = bench_random_memory(device, state->workspace_bytes, 11);
    return state;
}

static krn_status quantize_call(void *opaque, int32_t rotation, void *stream) {
    const quantize_state *const state = opaque;
    const krn_quantize_options options = options_of(state->scheme);
    return krn_cuda_quantize(state->context, &options, state->rows, state->cols, state->scheme->source,
                             state->source + rotation * state->source_bytes, state->cols,
                             state->codes + rotation * state->code_bytes, state->code_bytes / state->rows,
                             (float *)(void *)(state->scales + rotation * state->scale_bytes), NULL, state->workspace,
                             state->workspace_bytes, state->flags, stream);
}

static void quantize_close(bench_device *device, void *opaque) {
    quantize_state *const state = opaque;
    bench_free(device, state->source);
    bench_free(device, state->codes);
    bench_free(device, state->scales);
    bench_free(device, state->workspace);
    free(state);
}

extern const bench_op bench_quantize;
const bench_op bench_quantize = {quantize_cases, quantize_shrink, quantize_open, quantize_call, quantize_close};
