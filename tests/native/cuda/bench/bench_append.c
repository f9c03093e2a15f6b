/* Appending to the KV cache: one token of many sequences, and the tokens of a prompt; bound by memory. */
#include "bench_cache.h"

#include <stdio.h>
#include <stdlib.h>

typedef struct append_scheme {
    const char *name;
    int32_t type;
} append_scheme;

static const append_scheme schemes[] = {
    {"s8", KRN_TYPE_S8}, {"s4", KRN_TYPE_S4}, {"u4", KRN_TYPE_U4}, {"e4m3", KRN_TYPE_F8E4M3}, {"bf16", KRN_TYPE_BF16}};

typedef struct append_state {
    krn_cuda_context *context;
    bench_cache *caches; /* one for each rotation */
    krn_cuda_kv_batch batch;
    int64_t width, source_bytes;
    int32_t rotations;
    char *keys, *values;
    int32_t *flags;
} append_state;

static int32_t append_cases(bench_case *cases, int32_t most) {
    static const struct {
        int64_t sequences, rows, length;
    } shapes[] = {{64, 1, 1000}, {1, 4096, 4096}, {8, 2048, 2048}};
    enum { HEADS = 8, BF16_BYTES = 2 };
    int32_t count = 0;
    for (size_t scheme = 0; scheme < sizeof schemes / sizeof schemes[0]; scheme++)
        for (size_t i = 0; i < sizeof shapes / sizeof shapes[0] && count < most; i++) {
            bench_case *const c = &cases[count++];
            *c = (bench_case){.m = shapes[i].rows,
                              .n = shapes[i].length,
                              .k = shapes[i].sequences,
                              .heads = HEADS,
                              .scheme = (int32_t)scheme};
            c->bytes = (double)(c->k * c->m) *
                       (bench_token_bytes(schemes[scheme].type, HEADS) + 2.0 * HEADS * BENCH_HEAD_DIM * BF16_BYTES);
            snprintf(c->id, sizeof c->id, "kv-append/%s/batch%lld-tokens%lld-kv%d-d%d", schemes[scheme].name,
                     (long long)c->k, (long long)c->m, HEADS, BENCH_HEAD_DIM);
        }
    return count;
}

static void append_shrink(bench_case *c) {
    c->k = c->k > 3 ? 3 : c->k;
    c->n = 35;
    c->m = c->m > 33 ? 33 : c->m;
    c->heads = 2;
}

static void *append_open(bench_device *device, const bench_case *c, int32_t rotations) {
    append_state *const state = bench_allocate(sizeof *state);
    const int64_t width = c->heads * BENCH_HEAD_DIM, elems = c->k * c->m * width;
    *state = (append_state){.context = device->context,
                            .width = width,
                            .source_bytes = elems * 2,
                            .rotations = rotations,
                            .flags = device->flags};
    state->caches = bench_allocate(rotations * (int64_t)sizeof *state->caches);
    for (int32_t i = 0; i < rotations; i++)
        bench_cache_open(device, schemes[c->scheme].type, c->heads, c->k, c->n, &state->caches[i]);
    state->batch = bench_batch_open(device, &state->caches[0], c->m);
    state->keys = bench_activations(device, KRN_TYPE_BF16, rotations * elems, 26);
    state->values = bench_activations(device, KRN_TYPE_BF16, rotations * elems, 27);
    return state;
}

static krn_status append_call(void *opaque, int32_t rotation, void *stream) {
    const append_state *const state = opaque;
    const krn_cuda_kv_cache view = bench_cache_view(&state->caches[rotation]);
    const krn_cuda_kv_tokens tokens = {.struct_size = sizeof tokens,
                                       .type = KRN_TYPE_BF16,
                                       .keys = state->keys + rotation * state->source_bytes,
                                       .values = state->values + rotation * state->source_bytes,
                                       .key_ld = state->width,
                                       .value_ld = state->width};
    return krn_cuda_kv_append(state->context, &view, &state->batch, &tokens, state->flags, stream);
}

static void append_close(bench_device *device, void *opaque) {
    append_state *const state = opaque;
    for (int32_t i = 0; i < state->rotations; i++)
        bench_cache_close(device, &state->caches[i]);
    bench_batch_close(device, &state->batch);
    bench_free(device, state->keys);
    bench_free(device, state->values);
    free(state->caches);
    free(state);
}

extern const bench_op bench_append;
const bench_op bench_append = {append_cases, append_shrink, append_open, append_call, append_close};
