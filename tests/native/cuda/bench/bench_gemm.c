/* GEMM: the schemes at decode, small and large M, held against the bars of each and cuBLASLt on the same shape. */
#include "bench.h"

#include <stdio.h>
#include <stdlib.h>

typedef struct gemm_scheme {
    const char *name;
    int32_t weights, activations; /* krn_type */
    int64_t group_size;
    int32_t scale_type, compute;
    int32_t outliers; /* one input of a hundred is an outlier column */
    int32_t rank;     /* of an adapter; 0: none */
    int32_t is_main;  /* measured on every shape, not on one layer alone */
} gemm_scheme;

static const gemm_scheme schemes[] = {
    {"w8-a8", KRN_TYPE_S8, KRN_TYPE_S8, 0, 0, 0, 0, 0, 1},
    {"w4-a8", KRN_TYPE_S4, KRN_TYPE_S8, 0, 0, 0, 0, 0, 1},
    {"w4g128-a8", KRN_TYPE_S4, KRN_TYPE_S8, 128, 0, 0, 0, 0, 1},
    {"w4g128-a4", KRN_TYPE_S4, KRN_TYPE_S4, 128, 0, 0, 0, 0, 1},
    {"w4g128-bf16", KRN_TYPE_S4, KRN_TYPE_BF16, 128, 0, 0, 0, 0, 1},
    {"w8-bf16", KRN_TYPE_S8, KRN_TYPE_BF16, 0, 0, 0, 0, 0, 1},
    {"nf4b64-bf16", KRN_TYPE_C4, KRN_TYPE_BF16, 64, 0, 0, 0, 0, 1},
    {"nf4b64dq-bf16", KRN_TYPE_C4, KRN_TYPE_BF16, 64, KRN_TYPE_U8, 0, 0, 0, 0},
    {"nf4b64-f16", KRN_TYPE_C4, KRN_TYPE_F16, 64, 0, 0, 0, 0, 0},
    {"w4g128-f16", KRN_TYPE_S4, KRN_TYPE_F16, 128, 0, 0, 0, 0, 0},
    {"u4g128-bf16", KRN_TYPE_U4, KRN_TYPE_BF16, 128, KRN_TYPE_BF16, 0, 0, 0, 0},
    {"w8-f16", KRN_TYPE_S8, KRN_TYPE_F16, 0, 0, 0, 0, 0, 0},
    {"w8-bf16s8", KRN_TYPE_S8, KRN_TYPE_BF16, 0, 0, KRN_TYPE_S8, 0, 0, 0},
    {"w8-bf16s8-outliers", KRN_TYPE_S8, KRN_TYPE_BF16, 0, 0, KRN_TYPE_S8, 1, 0, 0},
    {"nf4b64-bf16-lora16", KRN_TYPE_C4, KRN_TYPE_BF16, 64, 0, 0, 0, 16, 0},
};

enum { SCHEMES = sizeof schemes / sizeof schemes[0], OUTLIERS_OF_K = 100 };

/* Layers and how many tokens they are given; those of one layer follow each other, so that it is packed once. */
static const struct {
    int64_t n, k, m;
} shapes[] = {
    {4096, 4096, 1},    {8192, 8192, 1},   {8192, 8192, 16},    {8192, 8192, 64},  {8192, 8192, 1024},
    {8192, 8192, 8192}, {28672, 8192, 1},  {14336, 4096, 4096}, {6144, 4096, 1},   {6144, 4096, 8},
    {6144, 4096, 16},   {28672, 4096, 1},  {28672, 4096, 8},    {28672, 4096, 16}, {4096, 14336, 1},
    {4096, 14336, 8},   {4096, 14336, 16}, {256, 28672, 1}, /* so few channels that K is split between blocks */
};

/* Of weights that are read in less time than a kernel takes to start, nothing is demanded. */
enum { LEAST_CHANNELS = 4096 };

typedef struct gemm_state {
    krn_cuda_context *context;
    krn_cuda_weights **weights; /* one for each rotation */
    const gemm_scheme *scheme;
    int64_t m, n, k, x_bytes, y_bytes, workspace_bytes;
    char *x, *y, *workspace;
    float *scales;
    krn_lora lora;
    krn_gemm_options options;
    int32_t *flags;
} gemm_state;

static int is_half(int32_t type) { return type == KRN_TYPE_F16 || type == KRN_TYPE_BF16; }

/* --- Cases -------------------------------------------------------------------------------------------------------- */

/* What the project wants of a case; see the goals in docs/cuda.md. */
static void add_bars(bench_case *c, const gemm_scheme *s) {
    const double weight_mb = (double)(c->n * c->k * bench_bits(s->weights) / 8) / (1 << 20);
    const int is_w8 = s->weights == KRN_TYPE_S8;
    if (s->rank > 0 || c->n < LEAST_CHANNELS)
        return;
    if (s->outliers) {
        bench_add_bar_over(c, 0.9, "gemm/%s/m%lld-n%lld-k%lld", schemes[0].name, (long long)c->m, (long long)c->n,
                           (long long)c->k);
        return;
    }
    if (is_w8 && s->activations == KRN_TYPE_S8) {
        if (c->m <= 64)
            bench_add_bar(c, BENCH_OF_TRIAD, 0.80);
        if (c->m >= 8192) {
            bench_add_bar(c, BENCH_TOPS, 1300);
            bench_add_bar(c, BENCH_OVER_BF16, 1.7);
            bench_add_bar(c, BENCH_OVER_INT8, 1.1);
        }
        return;
    }
    if (c->m == 1 && !is_w8)
        bench_add_bar(c, BENCH_OF_TRIAD, s->weights == KRN_TYPE_C4 ? 0.70 : weight_mb >= 128 ? 0.85 : 0.75);
    if (c->m == 1 && s->scale_type == KRN_TYPE_U8)
        bench_add_bar_over(c, 0.97, "gemm/nf4b64-bf16/m%lld-n%lld-k%lld", (long long)c->m, (long long)c->n,
                           (long long)c->k);
    if ((s->weights == KRN_TYPE_S4 || s->weights == KRN_TYPE_U4) && s->activations != KRN_TYPE_S4) {
        if (c->m <= 16)
            bench_add_bar(c, BENCH_OVER_BF16, 3.2);
        else if (c->m == 64)
            bench_add_bar(c, BENCH_OVER_BF16, 2.5);
    }
    if (c->m < 1024 || s->compute != 0)
        return;
    if (is_half(s->activations))
        bench_add_bar(c, BENCH_OVER_BF16, 0.9);
    else
        bench_add_bar_over(c, 0.85, "gemm/%s/m%lld-n%lld-k%lld", schemes[0].name, (long long)c->m, (long long)c->n,
                           (long long)c->k);
}

/* Weights and their scales, activations, the result in bf16. */
static double bytes_of(const gemm_scheme *s, int64_t m, int64_t n, int64_t k) {
    const int64_t groups = s->group_size == 0 ? 1 : k / s->group_size;
    const int64_t scale_bits = s->scale_type == 0 ? 32 : bench_bits(s->scale_type);
    const int64_t adapter = s->rank * (n + k) * 2;
    return (double)(adapter + n * k * bench_bits(s->weights) / 8 + n * groups * scale_bits / 8 +
                    m * k * bench_bits(s->activations) / 8 + m * n * 2);
}

static int32_t gemm_cases(bench_case *cases, int32_t most) {
    int32_t count = 0;
    for (int32_t scheme = 0; scheme < SCHEMES; scheme++)
        for (size_t i = 0; i < sizeof shapes / sizeof shapes[0] && count < most; i++) {
            const gemm_scheme *const s = &schemes[scheme];
            if (!s->is_main && shapes[i].n != 8192)
                continue;
            bench_case *const c = &cases[count++];
            *c = (bench_case){.m = shapes[i].m, .n = shapes[i].n, .k = shapes[i].k, .scheme = scheme, .has_peer = 1};
            c->operations = 2.0 * (double)c->m * (double)c->n * (double)c->k;
            c->bytes = bytes_of(s, c->m, c->n, c->k);
            snprintf(c->id, sizeof c->id, "gemm/%s/m%lld-n%lld-k%lld", s->name, (long long)c->m, (long long)c->n,
                     (long long)c->k);
            add_bars(c, s);
        }
    return count;
}

/* Which class of kernels runs depends on M, and on K where channels are few; a ragged last tile is in every dimension
 * that can have one. */
static void gemm_shrink(bench_case *c) {
    if (c->n < LEAST_CHANNELS) {
        c->n = 24;
        return;
    }
    c->n = c->n > 8192 ? 272 : 144;
    c->k = 256;
    c->m = c->m > 64 ? 130 : c->m;
}

/* --- Operands ----------------------------------------------------------------------------------------------------- */

static uint32_t next_random(uint32_t *state) {
    *state ^= *state << 13;
    *state ^= *state >> 17;
    return *state ^= *state << 5;
}

/* Random codes and scales, packed as the CPU packs a checkpoint's. */
static krn_weights *pack(krn_context *host, const gemm_scheme *s, int64_t n, int64_t k, uint32_t seed) {
    const int64_t outliers = s->outliers ? (k + OUTLIERS_OF_K - 1) / OUTLIERS_OF_K : 0;
    const int is_nested = s->scale_type == KRN_TYPE_U8;
    const krn_weights_desc desc = {.struct_size = sizeof desc,
                                   .format = s->weights,
                                   .n = n,
                                   .k = k,
                                   .group_size = s->group_size,
                                   .scale_type = s->scale_type,
                                   .num_outliers = outliers,
                                   .outlier_type = outliers > 0 ? KRN_TYPE_BF16 : 0};
    const int64_t row_bytes = k * bench_bits(s->weights) / 8;
    int64_t scale_count = 0;
    bench_check(krn_weights_scale_count(&desc, &scale_count), "describing weights");
    uint32_t *const codes = bench_allocate(n * row_bytes);
    /* Room for scales of every type. */
    char *const scales = bench_allocate(scale_count * (int64_t)sizeof(float));
    float *const nested = bench_allocate((scale_count / 256 + 1) * (int64_t)sizeof(float));
    int32_t *const zeros = bench_allocate(scale_count * (int64_t)sizeof(int32_t));
    int32_t *const columns = bench_allocate((outliers + 1) * (int64_t)sizeof(int32_t));
    float map[256];
    for (int64_t i = 0; i < n * row_bytes / 4; i++)
        codes[i] = next_random(&seed);
    for (int64_t i = 0; i < scale_count; i++) {
        const uint32_t random = next_random(&seed);
        zeros[i] = (int32_t)(random & 15);
        if (is_nested)
            ((uint8_t *)scales)[i] = (uint8_t)random;
        else if (s->scale_type == KRN_TYPE_BF16)
            ((uint16_t *)(void *)scales)[i] = (uint16_t)(0x3A80 + (random & 0x7F)); /* 0.001 to 0.002 */
        else
            ((float *)(void *)scales)[i] = 0.001f + (float)(random >> 8) * 1e-10f;
    }
    for (int64_t i = 0; i < scale_count / 256 + 1; i++)
        nested[i] = 0.001f;
    for (int32_t i = 0; i < 256; i++)
        map[i] = (float)(i - 127) / 128.0f;
    for (int64_t i = 0; i < outliers; i++)
        columns[i] = (int32_t)(i * OUTLIERS_OF_K);
    const krn_weights_source source = {.struct_size = sizeof source,
                                       .codes = codes,
                                       .codes_ld_bytes = row_bytes,
                                       .scales = scales,
                                       .zero_points = s->weights == KRN_TYPE_U4 ? zeros : NULL,
                                       .codebook = s->weights == KRN_TYPE_C4 ? krn_nf4_codebook() : NULL,
                                       .scale_map = is_nested ? map : NULL,
                                       .nested_scales = is_nested ? nested : NULL,
                                       .scale_offset = is_nested ? 0.002f : 0.0f,
                                       .outlier_columns = outliers > 0 ? columns : NULL};
    krn_weights *weights = NULL;
    bench_check(krn_weights_pack(host, &desc, &source, &weights), "packing weights");
    free(codes);
    free(scales);
    free(nested);
    free(zeros);
    free(columns);
    return weights;
}

/* The weights of the case before, which the next one may want too: packing takes longer than measuring. */
static struct {
    const gemm_scheme *scheme;
    int64_t n, k;
    int32_t count;
    krn_cuda_weights **weights;
} kept;

static void drop_weights(void) {
    for (int32_t i = 0; i < kept.count; i++)
        krn_cuda_weights_destroy(kept.weights[i]);
    free(kept.weights);
    kept.weights = NULL;
    kept.count = 0;
}

static krn_cuda_weights **weights_of(bench_device *device, const gemm_scheme *s, int64_t n, int64_t k, int32_t count) {
    if (kept.scheme == s && kept.n == n && kept.k == k && kept.count >= count)
        return kept.weights;
    drop_weights();
    krn_context *host = NULL;
    bench_check(krn_context_create(NULL, &host), "making a context of the CPU");
    krn_weights *const packed = pack(host, s, n, k, 12345);
    kept.weights = bench_allocate(count * (int64_t)sizeof *kept.weights);
    for (; kept.count < count; kept.count++)
        bench_check(
            krn_cuda_weights_create(device->context, host, packed, NULL, 0, device->stream, &kept.weights[kept.count]),
            "bringing weights to the device");
    bench_check(krn_cuda_stream_synchronize(device->context, device->stream), "copying");
    krn_weights_destroy(packed);
    krn_context_destroy(host);
    kept.scheme = s;
    kept.n = n;
    kept.k = k;
    return kept.weights;
}

static float *device_scales(bench_device *device, int64_t count) {
    float *const scales = bench_allocate(count * (int64_t)sizeof(float));
    for (int64_t i = 0; i < count; i++)
        scales[i] = 0.01f;
    float *const memory = bench_copy(device, scales, count * (int64_t)sizeof(float));
    free(scales);
    return memory;
}

static void *gemm_open(bench_device *device, const bench_case *c, int32_t rotations) {
    const gemm_scheme *const s = &schemes[c->scheme];
    if (!krn_cuda_gemm_supported(device->context, s->weights, s->activations, s->compute))
        return NULL;
    gemm_state *const state = bench_allocate(sizeof *state);
    *state = (gemm_state){.context = device->context,
                          .weights = weights_of(device, s, c->n, c->k, rotations),
                          .scheme = s,
                          .m = c->m,
                          .n = c->n,
                          .k = c->k,
                          .x_bytes = c->m * c->k * bench_bits(s->activations) / 8,
                          .y_bytes = c->m * c->n * 2,
                          .options = {.struct_size = sizeof state->options, .compute = s->compute},
                          .flags = device->flags};
    if (s->rank > 0) {
        state->lora = (krn_lora){.struct_size = sizeof state->lora,
                                 .type = KRN_TYPE_BF16,
                                 .rank = s->rank,
                                 .a = bench_activations(device, KRN_TYPE_BF16, s->rank * c->k, 8),
                                 .a_ld = c->k,
                                 .b = bench_activations(device, KRN_TYPE_BF16, s->rank * c->n, 9),
                                 .b_ld = s->rank,
                                 .scale = 0.5f};
        state->options.lora = &state->lora;
    }
    state->x = is_half(s->activations) ? bench_activations(device, s->activations, rotations * c->m * c->k, 5)
                                       : bench_random_memory(device, rotations * state->x_bytes, 5);
    state->y = bench_random_memory(device, rotations * state->y_bytes, 6);
    state->scales = is_half(s->activations) ? NULL : device_scales(device, c->m);
    bench_check(krn_cuda_gemm_workspace_bytes(device->context, state->weights[0], s->activations, &state->options, c->m,
                                              &state->workspace_bytes),
                "asking for the workspace");
    if (state->workspace_bytes > 0)
        state->workspace = bench_random_memory(device, state->workspace_bytes, 7);
    return state;
}

static krn_status gemm_call(void *opaque, int32_t rotation, void *stream) {
    const gemm_state *const state = opaque;
    const krn_activations activations = {.struct_size = sizeof activations,
                                         .type = state->scheme->activations,
                                         .data = state->x + rotation * state->x_bytes,
                                         .ld = state->k,
                                         .scales = state->scales};
    const krn_gemm_output output = {.struct_size = sizeof output,
                                    .type = KRN_TYPE_BF16,
                                    .data = state->y + rotation * state->y_bytes,
                                    .ld = state->n};
    return krn_cuda_gemm(state->context, state->weights[rotation], state->m, &activations, &output, &state->options,
                         state->workspace, state->workspace_bytes, state->flags, stream);
}

static void gemm_close(bench_device *device, void *opaque) {
    gemm_state *const state = opaque;
    bench_free(device, state->x);
    bench_free(device, state->y);
    bench_free(device, state->scales);
    bench_free(device, state->workspace);
    bench_free(device, (void *)(uintptr_t)state->lora.a);
    bench_free(device, (void *)(uintptr_t)state->lora.b);
    free(state);
}

extern const bench_op bench_gemm;
const bench_op bench_gemm = {gemm_cases, gemm_shrink, gemm_open, gemm_call, gemm_close};
