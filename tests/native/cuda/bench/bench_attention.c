/* Attention with 32 query heads on 8 KV heads: decoding, which streams the cache and is held against the triad and bf16;
 * and prompts, held against a rate. */
#include "bench_cache.h"

#include <stdio.h>
#include <stdlib.h>

typedef struct attention_scheme {
    const char *name;
    int32_t type;
} attention_scheme;

/* bf16 stands before what is held against it. */
static const attention_scheme schemes[] = {
    {"bf16", KRN_TYPE_BF16}, {"e4m3", KRN_TYPE_F8E4M3}, {"s8", KRN_TYPE_S8}, {"s4", KRN_TYPE_S4}};

enum { SCHEMES = sizeof schemes / sizeof schemes[0], GROUP = 4, HEADS = 8, BF16_BYTES = 2 };

typedef struct attention_state {
    krn_cuda_context *context;
    bench_cache *caches; /* one for each rotation */
    krn_cuda_kv_batch batch;
    int64_t width, heads, query_bytes, workspace_bytes;
    int32_t rotations, is_full;
    char *query, *output, *workspace;
    int32_t *flags;
} attention_state;

/* --- Cases -------------------------------------------------------------------------------------------------------- */

/* m query tokens of each of k sequences of n tokens. */
static bench_case *add(bench_case *cases, int32_t *count, int32_t scheme, int64_t m, int64_t n, int64_t k) {
    bench_case *const c = &cases[(*count)++];
    *c = (bench_case){.m = m, .n = n, .k = k, .heads = HEADS, .scheme = scheme};
    c->bytes = (double)(k * n) * bench_token_bytes(schemes[scheme].type, HEADS) +
               2.0 * (double)(k * m * GROUP * HEADS * BENCH_HEAD_DIM * BF16_BYTES);
    c->operations = 4.0 * (double)(k * m * n) * GROUP * HEADS * BENCH_HEAD_DIM;
    return c;
}

static int32_t attention_cases(bench_case *cases, int32_t most) {
    static const int64_t contexts[] = {1024, 8192, 32768, 65536}, batches[] = {1, 8}, prompts[] = {4096, 8192};
    enum { LONG = 32768, LARGE_PROMPT = 8192, ALL_CASES = SCHEMES * (4 * 2 + 2 * 2) };
    int32_t count = 0;
    if (most < ALL_CASES)
        return 0;
    for (int32_t scheme = 0; scheme < SCHEMES; scheme++) {
        const char *const name = schemes[scheme].name;
        const int64_t bits = bench_bits(schemes[scheme].type);
        for (size_t i = 0; i < sizeof contexts / sizeof contexts[0]; i++)
            for (size_t b = 0; b < sizeof batches / sizeof batches[0]; b++) {
                const long long batch = batches[b], context = contexts[i];
                bench_case *const c = add(cases, &count, scheme, 1, context, batch);
                snprintf(c->id, sizeof c->id, "attention-decode/%s/batch%lld-context%lld-h32-kv8-d128", name, batch,
                         context);
                if (context < LONG || bits > 8)
                    continue;
                bench_add_bar(c, BENCH_OF_TRIAD, bits == 8 ? 0.85 : 0.75);
                bench_add_bar_over(c, bits == 8 ? 1.8 : 3.0, "attention-decode/bf16/batch%lld-context%lld-h32-kv8-d128",
                                   batch, context);
            }
    }
    for (int32_t scheme = 0; scheme < SCHEMES; scheme++)
        for (size_t i = 0; i < sizeof prompts / sizeof prompts[0]; i++)
            for (int32_t is_full = 0; is_full < 2; is_full++) {
                const char *const name = schemes[scheme].name;
                bench_case *const c = add(cases, &count, scheme, prompts[i], prompts[i], 1);
                snprintf(c->id, sizeof c->id, "attention-%s/%s/tokens%lld-h32-kv8-d128", is_full ? "full" : "causal",
                         name, (long long)c->m);
                if (!is_full)
                    c->operations /= 2;
                else if (schemes[scheme].type == KRN_TYPE_S8 && c->m == LARGE_PROMPT)
                    bench_add_bar(c, BENCH_TOPS, 850);
                c->scheme += is_full * SCHEMES;
            }
    return count;
}

/* Two chunks of the cache for long contexts; prompts of more than 8 tokens, which are not cut into chunks. */
static void attention_shrink(bench_case *c) {
    c->n = c->n > 8192 ? 530 : 70;
    c->m = c->m > 1 ? 17 : 1;
    c->k = c->k > 2 ? 2 : c->k;
    c->heads = 1;
}

/* --- Operands ----------------------------------------------------------------------------------------------------- */

static krn_attention_options options_of(const attention_state *state) {
    return (krn_attention_options){
        .struct_size = sizeof(krn_attention_options), .heads = (int32_t)(state->heads * GROUP), .full = state->is_full};
}

static void *attention_open(bench_device *device, const bench_case *c, int32_t rotations) {
    attention_state *const state = bench_allocate(sizeof *state);
    const int64_t width = c->heads * GROUP * BENCH_HEAD_DIM, elems = c->k * c->m * width;
    *state = (attention_state){.context = device->context,
                               .width = width,
                               .heads = c->heads,
                               .query_bytes = elems * BF16_BYTES,
                               .rotations = rotations,
                               .is_full = c->scheme >= SCHEMES,
                               .flags = device->flags};
    state->caches = bench_allocate(rotations * (int64_t)sizeof *state->caches);
    for (int32_t i = 0; i < rotations; i++) {
        bench_cache_open(device, schemes[c->scheme % SCHEMES].type, c->heads, c->k, c->n, &state->caches[i]);
        bench_cache_fill(device, &state->caches[i]);
    }
    state->batch = bench_batch_open(device, &state->caches[0], c->m);
    state->query = bench_activations(device, KRN_TYPE_BF16, rotations * elems, 28);
    state->output = bench_random_memory(device, rotations * state->query_bytes, 29);
    const krn_cuda_kv_cache view = bench_cache_view(&state->caches[0]);
    const krn_attention_options options = options_of(state);
    bench_check(krn_cuda_attention_workspace_size(&view, &options, &state->batch, &state->workspace_bytes),
                "asking for the workspace");
    if (state->workspace_bytes > 0)
        state->workspace = bench_random_memory(device, state->workspace_bytes, 30);
    return state;
}

static krn_status attention_call(void *opaque, int32_t rotation, void *stream) {
    const attention_state *const state = opaque;
    const krn_cuda_kv_cache view = bench_cache_view(&state->caches[rotation]);
    const krn_attention_options options = options_of(state);
    const krn_attention_query query = {.struct_size = sizeof query,
                                       .type = KRN_TYPE_BF16,
                                       .data = state->query + rotation * state->query_bytes,
                                       .ld = state->width};
    const krn_attention_output output = {.struct_size = sizeof output,
                                         .type = KRN_TYPE_BF16,
                                         .data = state->output + rotation * state->query_bytes,
                                         .ld = state->width};
    return krn_cuda_attention(state->context, &view, &options, &state->batch, &query, &output, state->workspace,
                              state->workspace_bytes, state->flags, stream);
}

static void attention_close(bench_device *device, void *opaque) {
    attention_state *const state = opaque;
    for (int32_t i = 0; i < state->rotations; i++)
        bench_cache_close(device, &state->caches[i]);
    bench_batch_close(device, &state->batch);
    bench_free(device, state->query);
    bench_free(device, state->output);
    bench_free(device, state->workspace);
    free(state->caches);
    free(state);
}

extern const bench_op bench_attention;
const bench_op bench_attention = {attention_cases, attention_shrink, attention_open, attention_call, attention_close};
