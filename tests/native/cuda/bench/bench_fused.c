/* Fused steps on bf16 and the pairs of calls that they replace: bound by memory, held against the triad, the pair and,
 * with a rotation, the copy loop. */
#include "bench.h"

#include <stdio.h>
#include <stdlib.h>

typedef krn_status (*quantizing_step)(krn_cuda_context *context, const krn_fused_options *options, int64_t rows,
                                      int64_t cols, const krn_fused_input *input, const krn_fused_codes *codes,
                                      int32_t *device_flags, void *stream);
typedef krn_status (*float_step)(krn_cuda_context *context, const krn_fused_options *options, int64_t rows,
                                 int64_t cols, const krn_fused_input *input, int32_t target_type, void *target,
                                 int64_t target_ld, void *stream);

/* What a step takes beside x. */
enum { NOTHING, WEIGHT, WEIGHT_AND_EPS, GATES };

typedef struct fused_scheme {
    const char *name;
    quantizing_step quantizes; /* NULL: first `steps`, then krn_cuda_quantize */
    float_step steps;
    int32_t type, takes, has_residual, rotates;
    const char *pair; /* the scheme of two calls that does the same */
} fused_scheme;

/* A pair stands before what is held against it. */
static const fused_scheme schemes[] = {
    {"rmsnorm-then-s8", NULL, krn_cuda_rmsnorm, KRN_TYPE_S8, WEIGHT_AND_EPS, 0, 0, NULL},
    {"silu-mul-then-s8", NULL, krn_cuda_silu_mul, KRN_TYPE_S8, GATES, 0, 0, NULL},
    {"rmsnorm-s8", krn_cuda_rmsnorm_quantize, NULL, KRN_TYPE_S8, WEIGHT_AND_EPS, 0, 0, "rmsnorm-then-s8"},
    {"rmsnorm-residual-s8", krn_cuda_rmsnorm_quantize, NULL, KRN_TYPE_S8, WEIGHT_AND_EPS, 1, 0, NULL},
    {"rmsnorm-s4", krn_cuda_rmsnorm_quantize, NULL, KRN_TYPE_S4, WEIGHT_AND_EPS, 0, 0, NULL},
    {"layernorm-s8", krn_cuda_layernorm_quantize, NULL, KRN_TYPE_S8, WEIGHT_AND_EPS, 0, 0, NULL},
    {"silu-mul-s8", krn_cuda_silu_mul_quantize, NULL, KRN_TYPE_S8, GATES, 0, 0, "silu-mul-then-s8"},
    {"gelu-mul-s8", krn_cuda_gelu_mul_quantize, NULL, KRN_TYPE_S8, GATES, 0, 0, NULL},
    {"smooth-s8", krn_cuda_smooth_quantize, NULL, KRN_TYPE_S8, WEIGHT, 0, 0, NULL},
    {"hadamard-s8", krn_cuda_hadamard_quantize, NULL, KRN_TYPE_S8, NOTHING, 0, 1, NULL},
    {"rmsnorm-hadamard-s8", krn_cuda_rmsnorm_hadamard_quantize, NULL, KRN_TYPE_S8, WEIGHT_AND_EPS, 0, 1, NULL},
    {"silu-mul-hadamard-s8", krn_cuda_silu_mul_hadamard_quantize, NULL, KRN_TYPE_S8, GATES, 0, 1, NULL},
};

typedef struct fused_state {
    krn_cuda_context *context;
    const fused_scheme *scheme;
    int64_t rows, cols, width, source_bytes, sum_bytes, code_bytes, scale_bytes;
    char *source, *residual, *sum, *weight, *values, *codes, *scales;
    int32_t *flags;
} fused_state;

enum { BF16_BYTES = 2 };

static int64_t width_of(const fused_scheme *s, int64_t cols) { return s->takes == GATES ? 2 * cols : cols; }

static void add_bars(bench_case *c, const fused_scheme *s) {
    enum { LARGE = 4096 };
    if (c->m < LARGE || c->n < LARGE || s->quantizes == NULL)
        return;
    bench_add_bar(c, BENCH_OF_TRIAD, 0.85);
    if (s->pair != NULL)
        bench_add_bar_over(c, 1.8, "fused/%s/rows%lld-n%lld", s->pair, (long long)c->m, (long long)c->n);
    /* 0.8 of the time in which a copy reads and writes the row in bf16, 4 bytes an element; the step moves 3. */
    if (s->quantizes == krn_cuda_hadamard_quantize)
        bench_add_bar(c, BENCH_OVER_COPY, 0.8 * 4 / 3);
}

static int32_t fused_cases(bench_case *cases, int32_t most) {
    static const struct { int64_t rows, cols; } shapes[] = {{1, 4096}, {4096, 4096}, {8192, 8192}, {4096, 14336}};
    int32_t count = 0;
    for (size_t scheme = 0; scheme < sizeof schemes / sizeof schemes[0]; scheme++)
        for (size_t i = 0; i < sizeof shapes / sizeof shapes[0] && count < most; i++) {
            const fused_scheme *const s = &schemes[scheme];
            bench_case *const c = &cases[count++];
            *c = (bench_case){.m = shapes[i].rows, .n = shapes[i].cols, .scheme = (int32_t)scheme};
            const double elems = (double)(c->m * c->n);
            c->bytes = elems * (s->takes == GATES ? 2 : 1) * BF16_BYTES + elems * (double)bench_bits(s->type) / 8;
            if (s->has_residual)
                c->bytes += 2 * elems * BF16_BYTES;
            if (s->quantizes == NULL)
                c->bytes += 2 * elems * BF16_BYTES;
            snprintf(c->id, sizeof c->id, "fused/%s/rows%lld-n%lld", s->name, (long long)c->m, (long long)c->n);
            add_bars(c, s);
        }
    return count;
}

static void fused_shrink(bench_case *c) {
    c->m = c->m > 2 ? 2 : c->m;
    c->n = c->n == 14336 ? 1792 : c->n == 8192 ? 2048 : 512;
}

static void *fused_open(bench_device *device, const bench_case *c, int32_t rotations) {
    const fused_scheme *const s = &schemes[c->scheme];
    fused_state *const state = bench_allocate(sizeof *state);
    const int64_t elems = c->m * c->n, width = width_of(s, c->n);
    *state = (fused_state){.context = device->context,
                           .scheme = s,
                           .rows = c->m,
                           .cols = c->n,
                           .width = width,
                           .source_bytes = c->m * width * BF16_BYTES,
                           .sum_bytes = elems * BF16_BYTES,
                           .code_bytes = elems * bench_bits(s->type) / 8,
                           .scale_bytes = (c->m * 4 + 255) / 256 * 256,
                           .flags = device->flags};
    state->source = bench_activations(device, KRN_TYPE_BF16, rotations * c->m * width, 17);
    state->weight = bench_activations(device, KRN_TYPE_BF16, c->n, 18);
    state->codes = bench_random_memory(device, rotations * state->code_bytes, 19);
    state->scales = bench_random_memory(device, rotations * state->scale_bytes, 20);
    if (s->has_residual) {
        state->residual = bench_activations(device, KRN_TYPE_BF16, rotations * elems, 21);
        state->sum = bench_random_memory(device, rotations * state->sum_bytes, 22);
    }
    if (s->quantizes == NULL)
        state->values = bench_random_memory(device, rotations * state->sum_bytes, 23);
    return state;
}

static krn_status fused_call(void *opaque, int32_t rotation, void *stream) {
    const fused_state *const state = opaque;
    const fused_scheme *const s = state->scheme;
    const krn_hadamard_options rotation_options = {
        .struct_size = sizeof rotation_options, .normalized = 1, .n = state->cols};
    const krn_quantize_options quantize = {
        .struct_size = sizeof quantize, .type = s->type, .granularity = KRN_GRANULARITY_TOKEN};
    const int has_weight = s->takes == WEIGHT || s->takes == WEIGHT_AND_EPS;
    const krn_fused_options options = {.struct_size = sizeof options,
                                       .vector_type = has_weight ? KRN_TYPE_BF16 : 0,
                                       .weight = has_weight ? state->weight : NULL,
                                       .eps = s->takes == WEIGHT_AND_EPS ? 1e-5f : 0.0f,
                                       .gate_layout = s->takes == GATES ? KRN_GATE_HALVES : 0,
                                       .rotation = s->rotates ? &rotation_options : NULL};
    const int64_t at = rotation * state->sum_bytes;
    const krn_fused_input input = {.struct_size = sizeof input,
                                   .type = KRN_TYPE_BF16,
                                   .source = state->source + rotation * state->source_bytes,
                                   .source_ld = state->width,
                                   .residual = s->has_residual ? state->residual + at : NULL,
                                   .residual_ld = s->has_residual ? state->cols : 0,
                                   .sum = s->has_residual ? state->sum + at : NULL,
                                   .sum_ld = s->has_residual ? state->cols : 0};
    char *const codes = state->codes + rotation * state->code_bytes;
    float *const scales = (float *)(void *)(state->scales + rotation * state->scale_bytes);
    if (s->quantizes != NULL) {
        const krn_fused_codes target = {.struct_size = sizeof target,
                                        .options = &quantize,
                                        .codes = codes,
                                        .codes_ld_bytes = state->code_bytes / state->rows,
                                        .scales = scales};
        return s->quantizes(state->context, &options, state->rows, state->cols, &input, &target, state->flags, stream);
    }
    const krn_status status = s->steps(state->context, &options, state->rows, state->cols, &input, KRN_TYPE_BF16,
                                       state->values + at, state->cols, stream);
    if (status != KRN_OK)
        return status;
    return krn_cuda_quantize(state->context, &quantize, state->rows, state->cols, KRN_TYPE_BF16, state->values + at,
                             state->cols, codes, state->code_bytes / state->rows, scales, NULL, NULL, 0, state->flags,
                             stream);
}

static void fused_close(bench_device *device, void *opaque) {
    fused_state *const state = opaque;
    bench_free(device, state->source);
    bench_free(device, state->residual);
    bench_free(device, state->sum);
    bench_free(device, state->weight);
    bench_free(device, state->values);
    bench_free(device, state->codes);
    bench_free(device, state->scales);
    free(state);
}

extern const bench_op bench_fused;
const bench_op bench_fused = {fused_cases, fused_shrink, fused_open, fused_call, fused_close};
