/* GEMM: the schemes at decode, small and large M, held against the bars of each and cuBLASLt on the same shape. */
#include "bench.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct gemm_scheme {
    const char *name;
    int32_t weights, activations; /* krn_type */
    int64_t group_size;
} gemm_scheme;

static const gemm_scheme schemes[] = {
    {"w8-a8", KRN_TYPE_S8, KRN_TYPE_S8, 0},           {"w4-a8", KRN_TYPE_S4, KRN_TYPE_S8, 0},
    {"w4g128-a8", KRN_TYPE_S4, KRN_TYPE_S8, 128},     {"w4g128-a4", KRN_TYPE_S4, KRN_TYPE_S4, 128},
    {"w4g128-bf16", KRN_TYPE_S4, KRN_TYPE_BF16, 128}, {"w8-bf16", KRN_TYPE_S8, KRN_TYPE_BF16, 0},
    {"nf4b64-bf16", KRN_TYPE_C4, KRN_TYPE_BF16, 64},
};

enum { SCHEMES = sizeof schemes / sizeof schemes[0], W8_A8 = 0, OTHER_BYTES = 128 };

typedef struct gemm_state {
    krn_cuda_context *context;
    krn_context *host;
    krn_cuda_weights **weights; /* one for each rotation */
    int32_t rotations;
    int32_t activation_type;
    int64_t m, n, k, x_bytes, y_bytes, workspace_bytes;
    char *x, *y, *workspace;
    float *scales;
} gemm_state;

static int64_t bits_of(int32_t type) {
    switch (type) {
    case KRN_TYPE_S8: return 8;
    case KRN_TYPE_BF16: return 16;
    default: return 4;
    }
}

/* --- Cases -------------------------------------------------------------------------------------------------------- */

static void add_bar(bench_case *c, int32_t kind, double value, const char *other) {
    for (int32_t i = 0; i < BENCH_MAX_BARS; i++) {
        if (c->bars[i].kind == BENCH_NO_BAR) {
            c->bars[i] = (bench_bar){kind, value, other};
            return;
        }
    }
}

/* What the project wants of a case; see the goals in docs/cuda.md. */
static void add_bars(bench_case *c, const gemm_scheme *s) {
    static char ids[64][OTHER_BYTES];
    static int32_t id_count;
    const double weight_mb = (double)(c->n * c->k * bits_of(s->weights) / 8) / (1 << 20);
    if (s->weights == KRN_TYPE_S8 && s->activations == KRN_TYPE_S8) {
        if (c->m <= 64)
            add_bar(c, BENCH_OF_TRIAD, 0.80, NULL);
        if (c->m >= 8192) {
            add_bar(c, BENCH_TOPS, 1300, NULL);
            add_bar(c, BENCH_OVER_BF16, 1.7, NULL);
            add_bar(c, BENCH_OVER_INT8, 1.1, NULL);
        }
        return;
    }
    if (c->m == 1 && s->weights == KRN_TYPE_S4)
        add_bar(c, BENCH_OF_TRIAD, weight_mb >= 128 ? 0.85 : 0.75, NULL);
    if (c->m == 1 && s->weights == KRN_TYPE_C4)
        add_bar(c, BENCH_OF_TRIAD, 0.70, NULL);
    if (s->weights == KRN_TYPE_S4 && s->activations != KRN_TYPE_S4) {
        if (c->m <= 16)
            add_bar(c, BENCH_OVER_BF16, 3.2, NULL);
        else if (c->m == 64)
            add_bar(c, BENCH_OVER_BF16, 2.5, NULL);
    }
    if (c->m < 1024)
        return;
    if (s->activations == KRN_TYPE_BF16) {
        add_bar(c, BENCH_OVER_BF16, 0.9, NULL);
    } else if (id_count < 64) {
        char *const other = ids[id_count++];
        snprintf(other, OTHER_BYTES, "gemm/%s/m%lld-n%lld-k%lld", schemes[W8_A8].name, (long long)c->m, (long long)c->n,
                 (long long)c->k);
        add_bar(c, BENCH_OVER_CASE, 0.85, other);
    }
}

static int32_t gemm_cases(bench_case *cases, int32_t most) {
    static const struct {
        int64_t m, n, k;
    } shapes[] = {{1, 4096, 4096},  {1, 8192, 8192},    {1, 28672, 8192},   {16, 8192, 8192},
                  {64, 8192, 8192}, {1024, 8192, 8192}, {8192, 8192, 8192}, {4096, 14336, 4096}};
    int32_t count = 0;
    for (int32_t scheme = 0; scheme < SCHEMES; scheme++)
        for (size_t i = 0; i < sizeof shapes / sizeof shapes[0] && count < most; i++) {
            const gemm_scheme *const s = &schemes[scheme];
            bench_case *const c = &cases[count++];
            const int64_t groups = s->group_size == 0 ? 1 : shapes[i].k / s->group_size;
            *c = (bench_case){.m = shapes[i].m, .n = shapes[i].n, .k = shapes[i].k, .scheme = scheme, .has_peer = 1};
            c->operations = 2.0 * (double)c->m * (double)c->n * (double)c->k;
            /* Weights and their scales, activations, the result in bf16. */
            c->bytes = (double)(c->n * c->k * bits_of(s->weights) / 8 + c->n * groups * 4 +
                                c->m * c->k * bits_of(s->activations) / 8 + c->m * c->n * 2);
            snprintf(c->id, sizeof c->id, "gemm/%s/m%lld-n%lld-k%lld", s->name, (long long)c->m, (long long)c->n,
                     (long long)c->k);
            add_bars(c, s);
        }
    return count;
}

/* --- Operands ----------------------------------------------------------------------------------------------------- */

static void *allocate(size_t bytes) {
    void *const memory = calloc(1, bytes);
    if (memory == NULL) {
        fprintf(stderr, "bench_cuda: no memory for %llu bytes\n", (unsigned long long)bytes);
        exit(1);
    }
    return memory;
}

static uint32_t next_random(uint32_t *state) {
    *state ^= *state << 13;
    *state ^= *state >> 17;
    return *state ^= *state << 5;
}

/* Random codes and scales, packed as the CPU packs a checkpoint's. */
static krn_weights *pack(krn_context *host, const gemm_scheme *s, int64_t n, int64_t k, uint32_t seed) {
    const krn_weights_desc desc = {
        .struct_size = sizeof desc, .format = s->weights, .n = n, .k = k, .group_size = s->group_size};
    const int64_t row_bytes = k * bits_of(s->weights) / 8;
    int64_t scale_count = 0;
    bench_check(krn_weights_scale_count(&desc, &scale_count), "describing weights");
    uint32_t *const codes = allocate((size_t)(n * row_bytes));
    float *const scales = allocate((size_t)scale_count * sizeof(float));
    float codebook[16];
    for (int64_t i = 0; i < n * row_bytes / 4; i++)
        codes[i] = next_random(&seed);
    for (int64_t i = 0; i < scale_count; i++)
        scales[i] = 0.001f + (float)(next_random(&seed) >> 8) * 1e-10f;
    for (int32_t i = 0; i < 16; i++)
        codebook[i] = (float)(2 * i - 15) / 15.0f;
    const krn_weights_source source = {.struct_size = sizeof source,
                                       .codes = codes,
                                       .codes_ld_bytes = row_bytes,
                                       .scales = scales,
                                       .codebook = s->weights == KRN_TYPE_C4 ? codebook : NULL};
    krn_weights *weights = NULL;
    bench_check(krn_weights_pack(host, &desc, &source, &weights), "packing weights");
    free(codes);
    free(scales);
    return weights;
}

static float *device_scales(bench_device *device, int64_t count) {
    float *const scales = allocate((size_t)count * sizeof(float));
    void *memory = NULL;
    for (int64_t i = 0; i < count; i++)
        scales[i] = 0.01f;
    bench_check(krn_cuda_memory_allocate(device->context, count * (int64_t)sizeof(float), &memory), "allocating");
    bench_check(
        krn_cuda_memory_copy_to_device(device->context, memory, scales, count * (int64_t)sizeof(float), device->stream),
        "copying");
    bench_check(krn_cuda_stream_synchronize(device->context, device->stream), "copying");
    free(scales);
    return memory;
}

static void *gemm_open(bench_device *device, const bench_case *c, int32_t rotations) {
    const gemm_scheme *const s = &schemes[c->scheme];
    if (!krn_cuda_gemm_supported(device->context, s->weights, s->activations, 0))
        return NULL;
    gemm_state *const state = allocate(sizeof *state);
    *state = (gemm_state){.context = device->context,
                          .rotations = rotations,
                          .activation_type = s->activations,
                          .m = c->m,
                          .n = c->n,
                          .k = c->k,
                          .x_bytes = c->m * c->k * bits_of(s->activations) / 8,
                          .y_bytes = c->m * c->n * 2};
    bench_check(krn_context_create(NULL, &state->host), "making a context of the CPU");
    state->weights = allocate((size_t)rotations * sizeof *state->weights);
    krn_weights *const packed = pack(state->host, s, c->n, c->k, 12345);
    for (int32_t i = 0; i < rotations; i++)
        bench_check(
            krn_cuda_weights_create(device->context, state->host, packed, NULL, 0, device->stream, &state->weights[i]),
            "bringing weights to the device");
    bench_check(krn_cuda_stream_synchronize(device->context, device->stream), "copying");
    krn_weights_destroy(packed);

    state->x = s->activations == KRN_TYPE_BF16 ? bench_activations(device, KRN_TYPE_BF16, rotations * c->m * c->k, 5)
                                               : bench_random_memory(device, rotations * state->x_bytes, 5);
    state->y = bench_random_memory(device, rotations * state->y_bytes, 6);
    state->scales = s->activations == KRN_TYPE_BF16 ? NULL : device_scales(device, c->m);
    bench_check(krn_cuda_gemm_workspace_bytes(device->context, state->weights[0], s->activations, NULL, c->m,
                                              &state->workspace_bytes),
                "asking for the workspace");
    if (state->workspace_bytes > 0)
        state->workspace = bench_random_memory(device, state->workspace_bytes, 7);
    return state;
}

static krn_status gemm_call(void *opaque, int32_t rotation, void *stream) {
    const gemm_state *const state = opaque;
    const krn_activations activations = {.struct_size = sizeof activations,
                                         .type = state->activation_type,
                                         .data = state->x + rotation * state->x_bytes,
                                         .ld = state->k,
                                         .scales = state->scales};
    const krn_gemm_output output = {.struct_size = sizeof output,
                                    .type = KRN_TYPE_BF16,
                                    .data = state->y + rotation * state->y_bytes,
                                    .ld = state->n};
    return krn_cuda_gemm(state->context, state->weights[rotation], state->m, &activations, &output, NULL,
                         state->workspace, state->workspace_bytes, NULL, stream);
}

static void gemm_close(bench_device *device, void *opaque) {
    gemm_state *const state = opaque;
    for (int32_t i = 0; i < state->rotations; i++)
        krn_cuda_weights_destroy(state->weights[i]);
    bench_free(device, state->x);
    bench_free(device, state->y);
    bench_free(device, state->scales);
    bench_free(device, state->workspace);
    krn_context_destroy(state->host);
    free(state->weights);
    free(state);
}

extern const bench_op bench_gemm;
const bench_op bench_gemm = {gemm_cases, gemm_open, gemm_call, gemm_close};
