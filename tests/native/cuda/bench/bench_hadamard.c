/* Hadamard rotation: bound by memory, held against the copy loop. */
#include "bench.h"

#include <stdio.h>
#include <stdlib.h>

typedef struct hadamard_state {
    krn_cuda_context *context;
    int64_t rows, cols, n, bytes;
    int32_t type, flags;
    char *source, *target;
} hadamard_state;

/* A case's scheme is one of these. */
static const struct {
    const char *name;
    int32_t type, flags;
} schemes[] = {{"f32", KRN_TYPE_F32, 0},
               {"f16", KRN_TYPE_F16, 0},
               {"bf16", KRN_TYPE_BF16, 0},
               {"f16-mma", KRN_TYPE_F16, KRN_CUDA_HADAMARD_TENSOR_CORES},
               {"bf16-mma", KRN_TYPE_BF16, KRN_CUDA_HADAMARD_TENSOR_CORES}};
enum { SCHEMES = sizeof schemes / sizeof schemes[0] };

static int32_t hadamard_cases(bench_case *cases, int32_t most) {
    /* Heads of 128 in rows of 4096, and whole rows; 11008 has a base of order 172. */
    static const struct {
        int64_t n, cols;
    } shapes[] = {{128, 4096}, {4096, 4096}, {8192, 8192}, {11008, 11008}, {14336, 14336}, {32768, 32768}};
    enum { ROWS = 8192, LARGE_N = 8192 };
    int32_t count = 0;
    for (size_t i = 0; i < sizeof shapes / sizeof shapes[0]; i++)
        for (int32_t scheme = 0; scheme < SCHEMES && count < most; scheme++) {
            bench_case *const c = &cases[count++];
            *c = (bench_case){.m = ROWS, .n = shapes[i].cols, .k = shapes[i].n, .scheme = scheme};
            c->bytes = 2.0 * (double)(c->m * c->n * bench_bits(schemes[scheme].type) / 8);
            snprintf(c->id, sizeof c->id, "hadamard/%s/rows%d-n%lld", schemes[scheme].name, ROWS, (long long)c->k);
            bench_add_bar(c, BENCH_OVER_COPY, c->k <= LARGE_N ? 1.05 : 1.15);
        }
    return count;
}

static void hadamard_shrink(bench_case *c) {
    c->m = 1;
    c->n = c->k < 4096 ? 4096 : c->k;
}

static void *hadamard_open(bench_device *device, const bench_case *c, int32_t rotations) {
    hadamard_state *const state = bench_allocate(sizeof *state);
    *state = (hadamard_state){.context = device->context,
                              .rows = c->m,
                              .cols = c->n,
                              .n = c->k,
                              .bytes = c->m * c->n * bench_bits(schemes[c->scheme].type) / 8,
                              .type = schemes[c->scheme].type,
                              .flags = schemes[c->scheme].flags};
    state->source = bench_activations(device, state->type, rotations * c->m * c->n, 15);
    state->target = bench_random_memory(device, rotations * state->bytes, 16);
    return state;
}

static krn_status hadamard_call(void *opaque, int32_t rotation, void *stream) {
    const hadamard_state *const state = opaque;
    const krn_hadamard_options options = {
        .struct_size = sizeof options, .normalized = 1, .n = state->n, .flags = state->flags};
    return krn_cuda_hadamard(state->context, &options, state->rows, state->cols, state->type,
                             state->source + rotation * state->bytes, state->cols,
                             state->target + rotation * state->bytes, state->cols, stream);
}

static void hadamard_close(bench_device *device, void *opaque) {
    hadamard_state *const state = opaque;
    bench_free(device, state->source);
    bench_free(device, state->target);
    free(state);
}

extern const bench_op bench_hadamard;
const bench_op bench_hadamard = {hadamard_cases, hadamard_shrink, hadamard_open, hadamard_call, hadamard_close};
