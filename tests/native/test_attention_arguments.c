/* Attention: every mistake is a status that names it, and nothing is written; merging partial results. */
#include "attention_case.h"

#include <math.h>
#include <string.h>

enum { HEADS = 4, KV_HEADS = 2, DIM = 16, WIDTH = HEADS * DIM, LENGTH = 40 };

/* A call that is right, to be spoilt in one place. */
typedef struct {
    krn_context *context;
    krn_kv_cache *cache;
    krn_attention_options options;
    krn_attention_batch batch;
    krn_attention_query query;
    krn_attention_output output;
    int32_t sequences[2];
    int64_t query_tokens[2];
    float q[3 * WIDTH], o[3 * WIDTH], lse[3 * HEADS], floats[HEADS];
    /* Of keys and values. */
    float largest;
    void *workspace;
    int64_t bytes;
} call;

static void make_call(call *c, int32_t type) {
    memset(c, 0, sizeof *c);
    c->context = context_of(KRN_ISA_AUTO, 2);
    const krn_kv_cache_desc desc = {.struct_size = sizeof desc,
                                    .sequences = 3,
                                    .kv_heads = KV_HEADS,
                                    .head_dim = DIM,
                                    .max_tokens = LENGTH,
                                    .page_tokens = 16,
                                    .key_type = type,
                                    .value_type = type};
    CHECK_OK(krn_kv_cache_create(&desc, NULL, 0, &c->cache));
    static float tokens[LENGTH * KV_HEADS * DIM];
    test_random random = {.state = 1};
    for (size_t i = 0; i < sizeof tokens / sizeof tokens[0]; i++) {
        tokens[i] = random_activation(&random);
        c->largest = fabsf(tokens[i]) > c->largest ? fabsf(tokens[i]) : c->largest;
    }
    krn_kv_append_options append = {.struct_size = sizeof append,
                                    .source_type = KRN_TYPE_F32,
                                    .key_ld = KV_HEADS * DIM,
                                    .value_ld = KV_HEADS * DIM};
    const int32_t sequences[] = {0, 1};
    const int64_t lengths[] = {LENGTH, 1};
    static float both[(LENGTH + 1) * KV_HEADS * DIM];
    memcpy(both, tokens, sizeof tokens);
    CHECK_OK(krn_kv_cache_append(c->context, c->cache, 2, sequences, lengths, both, both, &append));
    for (int i = 0; i < 3 * WIDTH; i++)
        c->q[i] = random_activation(&random);
    c->options = (krn_attention_options){.struct_size = sizeof c->options, .heads = HEADS};
    c->sequences[1] = 1;
    c->query_tokens[0] = 2;
    c->query_tokens[1] = 1;
    c->batch = (krn_attention_batch){
        .struct_size = sizeof c->batch, .count = 2, .sequences = c->sequences, .query_tokens = c->query_tokens};
    c->query = (krn_attention_query){.struct_size = sizeof c->query, .type = KRN_TYPE_F32, .data = c->q, .ld = WIDTH};
    c->output = (krn_attention_output){
        .struct_size = sizeof c->output, .type = KRN_TYPE_F32, .data = c->o, .ld = WIDTH, .lse = c->lse};
    CHECK_OK(krn_attention_workspace_size(c->context, c->cache, &c->options, &c->batch, &c->bytes));
    c->workspace = guarded_allocate(c->bytes, GUARD_END);
}

static void free_call(call *c) {
    krn_kv_cache_destroy(c->cache);
    krn_context_destroy(c->context);
    guarded_free_all();
}

static krn_status run(call *c) {
    memset(c->o, 0xA5, sizeof c->o);
    memset(c->lse, 0xA5, sizeof c->lse);
    return krn_attention(c->context, c->cache, &c->options, &c->batch, &c->query, &c->output, c->workspace, c->bytes);
}

/* The call fails with `status` and a sentence that says `word`, and writes no result. */
static void expect(call *c, krn_status status, const char *word) {
    const krn_status actual = run(c);
    CHECK(actual == status, "%s: gave %s (%s)", word, krn_status_name(actual), krn_last_error());
    CHECK(strstr(krn_last_error(), word) != NULL, "'%s' does not say '%s'", krn_last_error(), word);
    for (size_t i = 0; i < sizeof c->o; i++)
        CHECK(((const uint8_t *)c->o)[i] == 0xA5, "%s: the output was written", word);
    for (size_t i = 0; i < sizeof c->lse; i++)
        CHECK(((const uint8_t *)c->lse)[i] == 0xA5, "%s: lse was written", word);
}

/* Spoils one field, expects a failure, and mends it. */
#define WRONG(c, field, value, status, word)                                                                           \
    do {                                                                                                               \
        const call mended_ = *(c);                                                                                     \
        (c)->field = (value);                                                                                          \
        expect(c, status, word);                                                                                       \
        *(c) = mended_;                                                                                                \
    } while (0)

static void mistakes(call *c) {
    WRONG(c, options.struct_size, 8, KRN_ERROR_STRUCT_SIZE, "options->struct_size");
    WRONG(c, options.heads, 0, KRN_ERROR_INVALID_ARGUMENT, "options->heads");
    WRONG(c, options.heads, 65537, KRN_ERROR_INVALID_ARGUMENT, "options->heads");
    WRONG(c, options.heads, 3, KRN_ERROR_SHAPE, "options->heads");
    WRONG(c, options.scale, NAN, KRN_ERROR_INVALID_ARGUMENT, "options->scale");
    WRONG(c, options.full, 2, KRN_ERROR_INVALID_ARGUMENT, "options->full");
    WRONG(c, options.window, -1, KRN_ERROR_INVALID_ARGUMENT, "options->window");
    WRONG(c, options.sink_tokens, -1, KRN_ERROR_INVALID_ARGUMENT, "options->sink_tokens");
    WRONG(c, options.softcap, -1.0f, KRN_ERROR_INVALID_ARGUMENT, "options->softcap");
    WRONG(c, options.softcap, INFINITY, KRN_ERROR_INVALID_ARGUMENT, "options->softcap");
    WRONG(c, options.reserved, 1, KRN_ERROR_INVALID_ARGUMENT, "options->reserved");
    c->floats[2] = INFINITY;
    WRONG(c, options.sink_logits, c->floats, KRN_ERROR_INVALID_ARGUMENT, "options->sink_logits[2]");
    c->floats[2] = -INFINITY;
    WRONG(c, options.alibi_slopes, c->floats, KRN_ERROR_INVALID_ARGUMENT, "options->alibi_slopes[2]");
    WRONG(c, batch.struct_size, 8, KRN_ERROR_STRUCT_SIZE, "batch->struct_size");
    WRONG(c, batch.count, -1, KRN_ERROR_INVALID_ARGUMENT, "batch->count");
    WRONG(c, batch.sequences, NULL, KRN_ERROR_NULL_ARGUMENT, "batch->sequences");
    WRONG(c, batch.query_tokens, NULL, KRN_ERROR_NULL_ARGUMENT, "batch->query_tokens");
    WRONG(c, sequences[1], 3, KRN_ERROR_INVALID_ARGUMENT, "batch->sequences[1]");
    WRONG(c, sequences[1], -1, KRN_ERROR_INVALID_ARGUMENT, "batch->sequences[1]");
    WRONG(c, sequences[1], 2, KRN_ERROR_SHAPE, "batch->query_tokens[1]");
    WRONG(c, query_tokens[1], 2, KRN_ERROR_SHAPE, "batch->query_tokens[1]");
    WRONG(c, query_tokens[1], -1, KRN_ERROR_INVALID_ARGUMENT, "batch->query_tokens[1]");
    WRONG(c, query.struct_size, 8, KRN_ERROR_STRUCT_SIZE, "query->struct_size");
    WRONG(c, query.type, KRN_TYPE_S8, KRN_ERROR_INVALID_ARGUMENT, "query->type");
    WRONG(c, query.data, NULL, KRN_ERROR_NULL_ARGUMENT, "query->data");
    WRONG(c, query.data, (const uint8_t *)c->q + 2, KRN_ERROR_ALIGNMENT, "query->data");
    WRONG(c, query.ld, WIDTH - 1, KRN_ERROR_LEADING_DIMENSION, "query->ld");
    WRONG(c, output.struct_size, 8, KRN_ERROR_STRUCT_SIZE, "output->struct_size");
    WRONG(c, output.type, KRN_TYPE_S8, KRN_ERROR_INVALID_ARGUMENT, "output->type");
    WRONG(c, output.data, NULL, KRN_ERROR_NULL_ARGUMENT, "output->data");
    WRONG(c, output.ld, WIDTH - 1, KRN_ERROR_LEADING_DIMENSION, "output->ld");
    WRONG(c, workspace, NULL, KRN_ERROR_NULL_ARGUMENT, "workspace");
    WRONG(c, workspace, (uint8_t *)c->workspace + 4, KRN_ERROR_ALIGNMENT, "workspace");
    WRONG(c, bytes, c->bytes - 1, KRN_ERROR_BUFFER_TOO_SMALL, "workspace_bytes");
    WRONG(c, q[2 * WIDTH + DIM + 3], NAN, KRN_ERROR_NON_FINITE, "query[2, 1, 3]");
    WRONG(c, q[WIDTH - 1], INFINITY, KRN_ERROR_NON_FINITE, "query[0, 3, 15]");
    CHECK_OK(run(c));
}

static void null_arguments(const call *c) {
    int64_t bytes;
    CHECK_STATUS(krn_attention(NULL, c->cache, &c->options, &c->batch, &c->query, &c->output, c->workspace, c->bytes),
                 KRN_ERROR_NULL_ARGUMENT);
    CHECK_STATUS(krn_attention(c->context, NULL, &c->options, &c->batch, &c->query, &c->output, c->workspace, c->bytes),
                 KRN_ERROR_NULL_ARGUMENT);
    CHECK_STATUS(krn_attention(c->context, c->cache, NULL, &c->batch, &c->query, &c->output, c->workspace, c->bytes),
                 KRN_ERROR_NULL_ARGUMENT);
    CHECK_STATUS(krn_attention(c->context, c->cache, &c->options, NULL, &c->query, &c->output, c->workspace, c->bytes),
                 KRN_ERROR_NULL_ARGUMENT);
    CHECK_STATUS(krn_attention(c->context, c->cache, &c->options, &c->batch, NULL, &c->output, c->workspace, c->bytes),
                 KRN_ERROR_NULL_ARGUMENT);
    CHECK_STATUS(krn_attention(c->context, c->cache, &c->options, &c->batch, &c->query, NULL, c->workspace, c->bytes),
                 KRN_ERROR_NULL_ARGUMENT);
    CHECK_STATUS(krn_attention_workspace_size(c->context, c->cache, &c->options, &c->batch, NULL),
                 KRN_ERROR_NULL_ARGUMENT);
    CHECK_STATUS(krn_attention_workspace_size(NULL, c->cache, &c->options, &c->batch, &bytes), KRN_ERROR_NULL_ARGUMENT);
    CHECK(krn_attention_variant(NULL, KRN_TYPE_S8, KRN_TYPE_S8) == NULL, "variant of no context");
    CHECK(krn_attention_variant(c->context, KRN_TYPE_S8, KRN_TYPE_F16) == NULL, "variant of f16 values");
    CHECK(krn_attention_variant(c->context, 99, KRN_TYPE_S8) == NULL, "variant of no type");
    krn_context *reference = context_of(KRN_ISA_REF, 1);
    CHECK(strcmp(krn_attention_variant(reference, KRN_TYPE_S8, KRN_TYPE_BF16), "ref") == 0, "variant of the reference");
    krn_context_destroy(reference);
}

/* No tokens and no sequences are no mistake. */
static void empty_batches(call *c) {
    c->query_tokens[0] = c->query_tokens[1] = 0;
    CHECK_OK(run(c));
    c->batch.count = 0;
    c->batch.sequences = NULL;
    c->batch.query_tokens = NULL;
    CHECK_OK(run(c));
    for (size_t i = 0; i < sizeof c->o; i++)
        CHECK(((const uint8_t *)c->o)[i] == 0xA5, "an empty batch wrote its output");
}

/* A window and the tokens before it are disjoint parts of a sequence: merged they give what one call over all gives. */
static void parts_merge(call *c) {
    static float whole[WIDTH], whole_lse[HEADS], data[2][WIDTH], lse[2][HEADS], merged[WIDTH], merged_lse[HEADS];
    c->batch.count = 1;
    c->query_tokens[0] = 1;
    c->options.full = 1;
    c->output.data = whole;
    c->output.lse = whole_lse;
    CHECK_OK(run(c));
    /* The last 24 tokens through a window; the first 16 as a sequence of their own. */
    c->options.window = 24;
    c->output.data = data[0];
    c->output.lse = lse[0];
    CHECK_OK(run(c));
    c->options.window = 0;
    CHECK_OK(krn_kv_cache_fork(c->cache, 0, LENGTH - 24, 2));
    c->sequences[0] = 2;
    c->output.data = data[1];
    c->output.lse = lse[1];
    CHECK_OK(run(c));
    const krn_attention_part parts[] = {{data[0], WIDTH, lse[0]}, {data[1], WIDTH, lse[1]}};
    krn_attention_output output = {
        .struct_size = sizeof output, .type = KRN_TYPE_F32, .data = merged, .ld = WIDTH, .lse = merged_lse};
    CHECK_OK(krn_attention_merge(c->context, 2, parts, 1, HEADS, DIM, &output));
    /* Scores differ in no bit; each result is within (tokens + 100) eps of the exact one, as attention.h adds up. */
    const double bound = 2 * (LENGTH + 100) * 0x1p-24 * (double)c->largest;
    for (int i = 0; i < WIDTH; i++)
        CHECK(fabs((double)(merged[i] - whole[i])) <= bound, "merged[%d] is %g, not %g", i, (double)merged[i],
              (double)whole[i]);
    for (int h = 0; h < HEADS; h++)
        CHECK(fabs((double)(merged_lse[h] - whole_lse[h])) <=
                  2 * (LENGTH + 100) * 0x1p-24 + 4 * 0x1p-24 * fabs((double)whole_lse[h]),
              "lse[%d] is %g, not %g", h, (double)merged_lse[h], (double)whole_lse[h]);
}

static void merge_is_exact(krn_context *context) {
    /* Weights 1 and exp(-1); then a part that saw nothing; then none that saw anything. */
    const float a[4] = {1, 2, 3, 4}, b[4] = {5, 6, 7, 8}, first[2] = {2, 3}, second[2] = {1, -INFINITY};
    const float nothing[2] = {-INFINITY, -INFINITY};
    float out[4], lse[2];
    krn_attention_part parts[] = {{a, 4, first}, {b, 4, second}};
    krn_attention_output output = {
        .struct_size = sizeof output, .type = KRN_TYPE_F32, .data = out, .ld = 4, .lse = lse};
    CHECK_OK(krn_attention_merge(context, 2, parts, 1, 2, 2, &output));
    const double w = exp(-1);
    for (int i = 0; i < 2; i++)
        CHECK(fabs((double)out[i] - ((double)a[i] + w * (double)b[i]) / (1 + w)) <= 4e-7 * 6, "out[%d]", i);
    CHECK(out[2] == 3 && out[3] == 4 && lse[1] == 3, "a part that saw nothing counted");
    CHECK(fabs((double)lse[0] - (2 + log(1 + w))) <= 1e-6, "lse[0] is %g", (double)lse[0]);
    parts[0].lse = parts[1].lse = nothing;
    CHECK_OK(krn_attention_merge(context, 2, parts, 1, 2, 2, &output));
    CHECK(out[0] == 0 && out[3] == 0 && lse[0] == -INFINITY, "parts that saw nothing");
    CHECK_STATUS(krn_attention_merge(NULL, 2, parts, 1, 2, 2, &output), KRN_ERROR_NULL_ARGUMENT);
    CHECK_STATUS(krn_attention_merge(context, 0, parts, 1, 2, 2, &output), KRN_ERROR_INVALID_ARGUMENT);
    CHECK_STATUS(krn_attention_merge(context, 2, NULL, 1, 2, 2, &output), KRN_ERROR_NULL_ARGUMENT);
    CHECK_STATUS(krn_attention_merge(context, 2, parts, -1, 2, 2, &output), KRN_ERROR_SHAPE);
    CHECK_STATUS(krn_attention_merge(context, 2, parts, 1, 2, 3, &output), KRN_ERROR_LEADING_DIMENSION);
    CHECK_STATUS(krn_attention_merge(context, 2, parts, 1, 2, 2, NULL), KRN_ERROR_NULL_ARGUMENT);
    parts[1].ld = 3;
    CHECK_STATUS(krn_attention_merge(context, 2, parts, 1, 2, 2, &output), KRN_ERROR_LEADING_DIMENSION);
    parts[1].ld = 4;
    parts[1].data = NULL;
    CHECK_STATUS(krn_attention_merge(context, 2, parts, 1, 2, 2, &output), KRN_ERROR_NULL_ARGUMENT);
}

int main(void) {
    static call c;
    make_call(&c, KRN_TYPE_S8);
    mistakes(&c);
    null_arguments(&c);
    merge_is_exact(c.context);
    empty_batches(&c);
    free_call(&c);
    make_call(&c, KRN_TYPE_F32);
    parts_merge(&c);
    free_call(&c);
    puts("attention arguments: ok");
    return 0;
}
