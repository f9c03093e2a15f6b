/* The loops over memory (kernels/cuda_ceiling.h) at sizes of tensors and beyond: what other cases are held against. */
#include "bench.h"

#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

typedef struct memory_state {
    krn_cuda_context *context;
    int32_t ceiling;
    int64_t bytes;
    char *to, *a, *b;
    int32_t rotations;
} memory_state;

static int32_t memory_cases(bench_case *cases, int32_t most) {
    static const struct {
        const char *name;
        int32_t ceiling, accesses;
    } loops[] = {
        {"read", KRN_CUDA_CEILING_READ, 1}, {"copy", KRN_CUDA_CEILING_COPY, 2}, {"triad", KRN_CUDA_CEILING_TRIAD, 3}};
    static const int32_t megabytes[] = {1024, 128, 32};
    int32_t count = 0;
    for (size_t size = 0; size < sizeof megabytes / sizeof megabytes[0]; size++)
        for (size_t loop = 0; loop < sizeof loops / sizeof loops[0] && count < most; loop++) {
            bench_case *const c = &cases[count++];
            *c = (bench_case){.n = (int64_t)megabytes[size] << 20, .scheme = loops[loop].ceiling};
            c->bytes = (double)c->n * loops[loop].accesses;
            snprintf(c->id, sizeof c->id, "memory/%s/mb%d", loops[loop].name, megabytes[size]);
        }
    return count;
}

static void memory_shrink(bench_case *c) {
    c->bytes /= (double)c->n;
    c->n = 1 << 16;
    c->bytes *= (double)c->n;
}

static void *memory_open(bench_device *device, const bench_case *the_case, int32_t rotations) {
    memory_state *const state = bench_allocate(sizeof *state);
    *state = (memory_state){
        .context = device->context, .ceiling = the_case->scheme, .bytes = the_case->n, .rotations = rotations};
    /* The loops use words: bits that are no numbers are not to slow a multiplication. */
    state->to = bench_activations(device, KRN_TYPE_F32, rotations * state->bytes / 4, 1);
    state->a = bench_activations(device, KRN_TYPE_F32, rotations * state->bytes / 4, 2);
    state->b = bench_activations(device, KRN_TYPE_F32, rotations * state->bytes / 4, 3);
    return state;
}

static krn_status memory_call(void *opaque, int32_t rotation, void *stream) {
    const memory_state *const state = opaque;
    const int64_t at = rotation * state->bytes;
    return krn_cuda_ceiling_run(state->context, state->ceiling, state->bytes, state->to + at, state->a + at,
                                state->b + at, stream);
}

static void memory_close(bench_device *device, void *opaque) {
    memory_state *const state = opaque;
    bench_free(device, state->to);
    bench_free(device, state->a);
    bench_free(device, state->b);
    free(state);
}

extern const bench_op bench_memory;
const bench_op bench_memory = {memory_cases, memory_shrink, memory_open, memory_call, memory_close};
