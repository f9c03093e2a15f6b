/* Dequantization to bf16, as training over frozen weights does it: bound by memory, held against the triad. */
#include "bench.h"

#include <stdio.h>
#include <stdlib.h>

typedef struct dequantize_scheme {
    const char *name;
    int32_t type;
    int64_t group_size;
} dequantize_scheme;

static const dequantize_scheme schemes[] = {
    {"nf4-b64", KRN_TYPE_C4, 64},
    {"s4-g128", KRN_TYPE_S4, 128},
    {"s8-g128", KRN_TYPE_S8, 128},
};

typedef struct dequantize_state {
    krn_cuda_context *context;
    const dequantize_scheme *scheme;
    int64_t rows, cols, code_bytes, scale_count, target_bytes;
    char *codes, *target;
    float *scales;
} dequantize_state;

static int32_t dequantize_cases(bench_case *cases, int32_t most) {
    static const int64_t rows[] = {4096, 28672};
    enum { COLS = 8192 };
    int32_t count = 0;
    for (size_t scheme = 0; scheme < sizeof schemes / sizeof schemes[0]; scheme++)
        for (size_t i = 0; i < sizeof rows / sizeof rows[0] && count < most; i++) {
            const dequantize_scheme *const s = &schemes[scheme];
            bench_case *const c = &cases[count++];
            *c = (bench_case){.m = rows[i], .n = COLS, .scheme = (int32_t)scheme};
            c->bytes = (double)(rows[i] * COLS) *
                       ((double)bench_bits(s->type) / 8 + 4.0 / (double)s->group_size + (double)sizeof(uint16_t));
            snprintf(c->id, sizeof c->id, "dequantize/%s/rows%lld-n%d", s->name, (long long)rows[i], COLS);
            if (s->type == KRN_TYPE_C4)
                bench_add_bar(c, BENCH_OF_TRIAD, 0.90);
        }
    return count;
}

static void dequantize_shrink(bench_case *c) {
    c->m = 3;
    c->n = 1280;
}

static void *dequantize_open(bench_device *device, const bench_case *c, int32_t rotations) {
    const dequantize_scheme *const s = &schemes[c->scheme];
    dequantize_state *const state = bench_allocate(sizeof *state);
    *state = (dequantize_state){.context = device->context,
                                .scheme = s,
                                .rows = c->m,
                                .cols = c->n,
                                .code_bytes = c->m * c->n * bench_bits(s->type) / 8,
                                .scale_count = c->m * (c->n / s->group_size),
                                .target_bytes = c->m * c->n * 2};
    state->codes = bench_random_memory(device, rotations * state->code_bytes, 12);
    state->scales = bench_activations(device, KRN_TYPE_F32, rotations * state->scale_count, 13);
    state->target = bench_random_memory(device, rotations * state->target_bytes, 14);
    return state;
}

static krn_status dequantize_call(void *opaque, int32_t rotation, void *stream) {
    const dequantize_state *const state = opaque;
    const krn_quantize_options options = {.struct_size = sizeof options,
                                          .type = state->scheme->type,
                                          .granularity = KRN_GRANULARITY_GROUP,
                                          .group_size = state->scheme->group_size};
    return krn_cuda_dequantize(state->context, &options, state->rows, state->cols,
                               state->codes + rotation * state->code_bytes, state->code_bytes / state->rows,
                               state->scales + rotation * state->scale_count, NULL, KRN_TYPE_BF16,
                               state->target + rotation * state->target_bytes, state->cols, stream);
}

static void dequantize_close(bench_device *device, void *opaque) {
    dequantize_state *const state = opaque;
    bench_free(device, state->codes);
    bench_free(device, state->scales);
    bench_free(device, state->target);
    free(state);
}

extern const bench_op bench_dequantize;
const bench_op bench_dequantize = {dequantize_cases, dequantize_shrink, dequantize_open, dequantize_call,
                                   dequantize_close};
