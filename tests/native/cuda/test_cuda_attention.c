/* krn_cuda_attention over pages that the CPU's cache has filled: its output is that of krn_attention's reference, bit for
 * bit, and its lse within the bound of kernels/cuda_attention.h; of bf16 and FP8, both are within that of the oracle. */
#include "attention_case.h"
#include "cuda_device.h"
#include "kv_cache/kv_layout.h"
#include "kv_cache/kv_memory.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_TABLES = 4096 };

static int64_t element_bytes(int32_t type) { return type == KRN_TYPE_F32 ? 4 : 2; }

/* Fills the cache of a case once more, in memory whose first part is the pool. */
static const void *refill(attention_case *c) {
    krn_context *reference = context_of(KRN_ISA_REF, 1);
    krn_kv_cache_sizes sizes = {.struct_size = sizeof sizes};
    const int64_t width = (int64_t)c->desc.kv_heads * c->desc.head_dim;
    const krn_kv_append_options append = {
        .struct_size = sizeof append, .source_type = KRN_TYPE_F32, .key_ld = width, .value_ld = width};
    CHECK_OK(krn_kv_cache_bytes(&c->desc, &sizes));
    void *memory = guarded_allocate(sizes.total, GUARD_START);
    krn_kv_cache_destroy(c->cache);
    CHECK_OK(krn_kv_cache_create(&c->desc, memory, sizes.total, &c->cache));
    for (int32_t s = 0; s < ATTENTION_MAX_SEQUENCES; s++)
        CHECK_OK(krn_kv_cache_append(reference, c->cache, 1, &s, &c->lengths[s], c->keys[s], c->values[s], &append));
    krn_context_destroy(reference);
    return memory;
}

/* Device copies of a case's cache: its pool as it is, tables and lengths. */
static krn_cuda_kv_cache copy_cache(krn_cuda_context *device, attention_case *c) {
    const int64_t table_pages = (c->desc.max_tokens - 1) / c->desc.page_tokens + 1;
    int32_t tables[MAX_TABLES], lengths[ATTENTION_MAX_SEQUENCES];
    CHECK(table_pages * ATTENTION_MAX_SEQUENCES <= MAX_TABLES, "tables of %lld pages", (long long)table_pages);
    const unsigned char *pool = refill(c);
    for (int32_t s = 0; s < ATTENTION_MAX_SEQUENCES; s++) {
        int64_t count = 0, length = 0;
        int32_t *table = tables + s * table_pages;
        for (int64_t i = 0; i < table_pages; i++)
            table[i] = -1;
        CHECK_OK(krn_kv_cache_table(c->cache, s, table_pages, table, &count));
        CHECK_OK(krn_kv_cache_length(c->cache, s, &length));
        lengths[s] = (int32_t)length;
    }
    krn_cuda_kv_cache cache = {.struct_size = sizeof cache, .desc = &c->desc};
    CHECK_OK(krn_cuda_kv_cache_bytes(&c->desc, NULL, &cache.pool_bytes));
    cache.pool = cuda_copy_of(device, pool, cache.pool_bytes);
    cache.tables = cuda_copy_of(device, tables, table_pages * ATTENTION_MAX_SEQUENCES * 4);
    cache.lengths = cuda_copy_of(device, lengths, sizeof lengths);
    if (c->desc.key_granularity == KRN_KV_STATIC)
        cache.key_scales = cuda_copy_of(device, c->key_scales, sizeof c->key_scales);
    if (c->desc.value_granularity == KRN_KV_STATIC)
        cache.value_scales = cuda_copy_of(device, c->value_scales, sizeof c->value_scales);
    const krn_kv_layout layout = krn_kv_layout_of(&c->desc);
    const krn_kv_parts parts = krn_kv_parts_of(&c->desc, &layout);
    if (c->desc.center_keys)
        cache.means = cuda_copy_of(device, pool + parts.means, ATTENTION_MAX_SEQUENCES * layout.mean_bytes);
    if (c->desc.key_granularity == KRN_KV_CHANNEL)
        cache.tails = cuda_copy_of(device, pool + parts.tails, ATTENTION_MAX_SEQUENCES * layout.tail_bytes);
    return cache;
}

static attention_result run_on_device(krn_cuda_context *device, attention_case *c) {
    const krn_cuda_kv_cache cache = copy_cache(device, c);
    int32_t starts[ATTENTION_MAX_SEQUENCES + 1] = {0}, flags = 0;
    krn_cuda_kv_batch batch = {.struct_size = sizeof batch, .count = c->batch.count, .rows = (int32_t)c->tokens};
    for (int32_t i = 0; i < batch.count; i++) {
        const int32_t rows = (int32_t)c->query_tokens[i], length = (int32_t)c->lengths[c->sequences[i]];
        starts[i + 1] = starts[i] + rows;
        batch.max_rows = batch.max_rows > rows ? batch.max_rows : rows;
        batch.max_length = batch.max_length > length ? batch.max_length : length;
    }
    batch.sequences = cuda_copy_of(device, c->sequences, sizeof c->sequences);
    batch.starts = cuda_copy_of(device, starts, sizeof starts);
    krn_attention_options options = c->options;
    if (options.sink_logits != NULL)
        options.sink_logits = cuda_copy_of(device, c->sink_logits, sizeof c->sink_logits);
    if (options.alibi_slopes != NULL)
        options.alibi_slopes = cuda_copy_of(device, c->alibi_slopes, sizeof c->alibi_slopes);
    const int64_t width = (int64_t)c->options.heads * c->desc.head_dim;
    const int64_t before = c->tokens == 0 ? 0 : c->tokens - 1, last = c->tokens == 0 ? 0 : width;
    krn_attention_query query = c->query;
    query.data = cuda_copy_of(device, c->query.data, (before * query.ld + last) * element_bytes(query.type));
    attention_result result = {.bytes = (before * c->output_ld + last) * element_bytes(c->output_type)};
    result.data = guarded_allocate(result.bytes, GUARD_END);
    result.lse = guarded_allocate(c->tokens * c->options.heads * 4, GUARD_START);
    const krn_attention_output output = {.struct_size = sizeof output,
                                         .type = c->output_type,
                                         .data = cuda_allocate(device, result.bytes),
                                         .ld = c->output_ld,
                                         .lse = cuda_allocate(device, c->tokens * c->options.heads * 4)};
    int32_t *device_flags = cuda_copy_of(device, &flags, sizeof flags);
    int64_t needed = 0;
    CHECK_OK(krn_cuda_attention_workspace_size(&cache, &options, &batch, &needed));
    void *workspace = cuda_allocate(device, needed);
    CHECK_OK(
        krn_cuda_attention(device, &cache, &options, &batch, &query, &output, workspace, needed, device_flags, NULL));
    cuda_read(device, result.data, output.data, result.bytes);
    cuda_read(device, result.lse, output.lse, c->tokens * c->options.heads * 4);
    cuda_read(device, &flags, device_flags, sizeof flags);
    CHECK(flags == 0, "good queries set the flags %d", flags);
    cuda_free_all(device);
    return result;
}

static void compare(const attention_case *c, const attention_result *expected, const attention_result *actual) {
    const int64_t bytes = element_bytes(c->output_type);
    const unsigned char *a = actual->data, *b = expected->data;
    for (int64_t i = 0; i < actual->bytes; i += bytes)
        CHECK(memcmp(a + i, b + i, (size_t)bytes) == 0,
              "keys %d, values %d, head_dim %d, %d heads of %d: element %lld of token %lld is 0x%x, the CPU's 0x%x",
              c->desc.key_type, c->desc.value_type, c->desc.head_dim, c->options.heads, c->desc.kv_heads,
              (long long)(i / bytes % c->output_ld), (long long)(i / bytes / c->output_ld),
              bytes == 4 ? *(const uint32_t *)(const void *)(a + i) : *(const uint16_t *)(const void *)(a + i),
              bytes == 4 ? *(const uint32_t *)(const void *)(b + i) : *(const uint16_t *)(const void *)(b + i));
    /* The sum is at most that of max_tokens and a sink. */
    const double most = log((double)c->desc.max_tokens + 1);
    for (int64_t i = 0; i < c->tokens * c->options.heads; i++) {
        const double x = (double)actual->lse[i], y = (double)expected->lse[i];
        CHECK(x == y || fabs(x - y) <= 0x1p-22 + 0x1p-23 * (1 + most + fabs(y)), "lse %lld is %g, the CPU's %g",
              (long long)i, x, y);
    }
}

/* The first entry of a batch by itself has the bits that it has in the batch. */
static void compare_alone(krn_cuda_context *device, attention_case *c, const attention_result *whole) {
    attention_case alone = *c;
    alone.batch.count = 1;
    alone.tokens = c->query_tokens[0];
    const attention_result result = run_on_device(device, &alone);
    c->cache = alone.cache;
    CHECK(memcmp(result.data, whole->data, (size_t)result.bytes) == 0 &&
              memcmp(result.lse, whole->lse, (size_t)(alone.tokens * c->options.heads) * 4) == 0,
          "keys %d, values %d, head_dim %d: an entry of %lld tokens depends on its batch", c->desc.key_type,
          c->desc.value_type, c->desc.head_dim, (long long)alone.tokens);
}

static int has_kernels(const krn_kv_cache_desc *desc) {
    return desc->head_dim <= 128 || desc->key_type != KRN_TYPE_F32;
}

static void run_case(krn_context *host, krn_cuda_context *device, attention_case *c) {
    const attention_result actual = run_on_device(device, c);
    c->has_tensor_cores = c->desc.key_type == KRN_TYPE_BF16 || c->desc.key_type == KRN_TYPE_F8E4M3;
    if (c->has_tensor_cores) {
        attention_case_check(c, &actual, "device");
        compare_alone(device, c, &actual);
        return;
    }
    const attention_result expected = attention_case_run(c, host, 0, c->batch.count);
    compare(c, &expected, &actual);
}

/* `count` cases, and then those that it takes to have had heads of up to 128 and above; with `wants_groups` with scales of
 * channels, too, where types take these. */
static void random_cases(krn_context *host, krn_cuda_context *device, int32_t key_type, int32_t value_type, int count,
                         int64_t max_length, int wants_groups) {
    test_random random = {(uint64_t)(key_type * 64 + value_type)};
    const int by_channel =
        wants_groups && key_type != KRN_TYPE_F32 && key_type != KRN_TYPE_BF16 && key_type != KRN_TYPE_F8E4M3;
    int seen[2][2] = {{0, key_type == KRN_TYPE_F32}, {!by_channel, !by_channel}};
    while (count > 0 || !seen[0][0] || !seen[0][1] || !seen[1][0] || !seen[1][1]) {
        attention_case c;
        attention_case_make(&c, &random, key_type, value_type, max_length);
        int *const is_seen = &seen[c.desc.key_granularity == KRN_KV_CHANNEL][c.desc.head_dim > 128];
        if (has_kernels(&c.desc) && (count > 0 || !*is_seen)) {
            run_case(host, device, &c);
            *is_seen |= c.tokens > 0;
            count--;
        }
        attention_case_free(&c);
    }
}

/* One query over one token, whose page or whose query is bad. */
static void flags_are_set(krn_cuda_context *device) {
    static const struct {
        int32_t page, length, expected;
        float x;
    } cases[] = {{0, 1, 0, 1},
                 {1, 1, KRN_CUDA_FLAG_PAGES, 1},
                 {-1, 1, KRN_CUDA_FLAG_PAGES, 1},
                 {0, 0, KRN_CUDA_FLAG_PAGES, 1},
                 {0, 17, KRN_CUDA_FLAG_PAGES, 1},
                 {0, 1, KRN_CUDA_FLAG_NON_FINITE, NAN}};
    const krn_kv_cache_desc desc = {.struct_size = sizeof desc,
                                    .sequences = 1,
                                    .kv_heads = 1,
                                    .head_dim = 16,
                                    .max_tokens = 16,
                                    .page_tokens = 16,
                                    .key_type = KRN_TYPE_S8,
                                    .value_type = KRN_TYPE_S8};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const int32_t starts[2] = {0, 1}, sequence = 0;
        int32_t flags = 4;
        int64_t needed = 0;
        float x[16];
        for (int e = 0; e < 16; e++)
            x[e] = e == 3 ? cases[i].x : 1;
        krn_cuda_kv_cache cache = {.struct_size = sizeof cache, .desc = &desc};
        CHECK_OK(krn_cuda_kv_cache_bytes(&desc, NULL, &cache.pool_bytes));
        cache.pool = cuda_allocate(device, cache.pool_bytes);
        cache.tables = cuda_copy_of(device, &cases[i].page, 4);
        cache.lengths = cuda_copy_of(device, &cases[i].length, 4);
        const krn_cuda_kv_batch batch = {.struct_size = sizeof batch,
                                         .count = 1,
                                         .sequences = cuda_copy_of(device, &sequence, 4),
                                         .starts = cuda_copy_of(device, starts, sizeof starts),
                                         .rows = 1,
                                         .max_rows = 1};
        const krn_attention_options options = {.struct_size = sizeof options, .heads = 1};
        const krn_attention_query query = {
            .struct_size = sizeof query, .type = KRN_TYPE_F32, .data = cuda_copy_of(device, x, sizeof x), .ld = 16};
        const krn_attention_output output = {
            .struct_size = sizeof output, .type = KRN_TYPE_F32, .data = cuda_allocate(device, sizeof x), .ld = 16};
        int32_t *device_flags = cuda_copy_of(device, &flags, sizeof flags);
        CHECK_OK(krn_cuda_attention_workspace_size(&cache, &options, &batch, &needed));
        void *workspace = cuda_allocate(device, needed);
        CHECK_OK(krn_cuda_attention(device, &cache, &options, &batch, &query, &output, workspace, needed, device_flags,
                                    NULL));
        cuda_read(device, &flags, device_flags, sizeof flags);
        CHECK(flags == (4 | cases[i].expected), "case %d: the flags are %d", (int)i, flags);
        cuda_free_all(device);
    }
}

/* Nothing is launched: the addresses are none of the device's. */
static void arguments(krn_cuda_context *device) {
    _Alignas(256) static unsigned char memory[1 << 16];
    krn_kv_cache_desc desc = {.struct_size = sizeof desc,
                              .sequences = 1,
                              .kv_heads = 2,
                              .head_dim = 16,
                              .max_tokens = 16,
                              .page_tokens = 16,
                              .key_type = KRN_TYPE_S8,
                              .value_type = KRN_TYPE_S8};
    int32_t words[4] = {0};
    const krn_cuda_kv_cache good_cache = {.struct_size = sizeof good_cache,
                                          .desc = &desc,
                                          .pool = memory,
                                          .pool_bytes = sizeof memory,
                                          .tables = words,
                                          .lengths = words};
    const krn_cuda_kv_batch good_batch = {
        .struct_size = sizeof good_batch, .count = 1, .sequences = words, .starts = words, .rows = 1, .max_rows = 1};
    const krn_attention_options good_options = {.struct_size = sizeof good_options, .heads = 4};
    const krn_attention_query good_query = {
        .struct_size = sizeof good_query, .type = KRN_TYPE_F16, .data = memory, .ld = 64};
    const krn_attention_output good_output = {
        .struct_size = sizeof good_output, .type = KRN_TYPE_F16, .data = memory, .ld = 64};
    int64_t needed = 0;
    CHECK_OK(krn_cuda_attention_workspace_size(&good_cache, &good_options, &good_batch, &needed));
    CHECK(needed > 0 && needed <= (int64_t)sizeof memory, "a workspace of %lld bytes", (long long)needed);
#define ATTEND_WITH(object, field, value, status)                                                                      \
    do {                                                                                                               \
        krn_cuda_kv_cache cache = good_cache;                                                                          \
        krn_cuda_kv_batch batch = good_batch;                                                                          \
        krn_attention_options options = good_options;                                                                  \
        krn_attention_query query = good_query;                                                                        \
        krn_attention_output output = good_output;                                                                     \
        struct {                                                                                                       \
            void *memory;                                                                                              \
            int64_t bytes;                                                                                             \
        } workspace = {memory, needed};                                                                                \
        object.field = value;                                                                                          \
        CHECK_STATUS(krn_cuda_attention(device, &cache, &options, &batch, &query, &output, workspace.memory,           \
                                        workspace.bytes, NULL, NULL),                                                  \
                     status);                                                                                          \
    } while (0)
    ATTEND_WITH(cache, struct_size, 0, KRN_ERROR_STRUCT_SIZE);
    ATTEND_WITH(cache, key_scales, (const float *)(void *)words, KRN_ERROR_INVALID_ARGUMENT);
    ATTEND_WITH(cache, value_zero_points, words, KRN_ERROR_INVALID_ARGUMENT);
    ATTEND_WITH(batch, struct_size, 0, KRN_ERROR_STRUCT_SIZE);
    ATTEND_WITH(options, struct_size, 0, KRN_ERROR_STRUCT_SIZE);
    ATTEND_WITH(options, heads, 3, KRN_ERROR_SHAPE);
    ATTEND_WITH(options, heads, 0, KRN_ERROR_SHAPE);
    ATTEND_WITH(options, scale, INFINITY, KRN_ERROR_INVALID_ARGUMENT);
    ATTEND_WITH(options, softcap, -1, KRN_ERROR_INVALID_ARGUMENT);
    ATTEND_WITH(options, softcap, NAN, KRN_ERROR_INVALID_ARGUMENT);
    ATTEND_WITH(options, full, 2, KRN_ERROR_INVALID_ARGUMENT);
    ATTEND_WITH(options, window, -1, KRN_ERROR_INVALID_ARGUMENT);
    ATTEND_WITH(options, sink_tokens, -1, KRN_ERROR_INVALID_ARGUMENT);
    ATTEND_WITH(options, reserved, 1, KRN_ERROR_INVALID_ARGUMENT);
    ATTEND_WITH(options, sink_logits, (const float *)(const void *)(memory + 2), KRN_ERROR_ALIGNMENT);
    ATTEND_WITH(query, struct_size, 0, KRN_ERROR_STRUCT_SIZE);
    ATTEND_WITH(query, type, KRN_TYPE_S8, KRN_ERROR_INVALID_ARGUMENT);
    ATTEND_WITH(query, ld, 63, KRN_ERROR_LEADING_DIMENSION);
    ATTEND_WITH(query, data, NULL, KRN_ERROR_NULL_ARGUMENT);
    ATTEND_WITH(query, data, memory + 1, KRN_ERROR_ALIGNMENT);
    ATTEND_WITH(output, struct_size, 0, KRN_ERROR_STRUCT_SIZE);
    ATTEND_WITH(output, type, KRN_TYPE_U4, KRN_ERROR_INVALID_ARGUMENT);
    ATTEND_WITH(output, ld, 63, KRN_ERROR_LEADING_DIMENSION);
    ATTEND_WITH(output, data, NULL, KRN_ERROR_NULL_ARGUMENT);
    ATTEND_WITH(output, lse, (float *)(void *)(memory + 1), KRN_ERROR_ALIGNMENT);
    ATTEND_WITH(workspace, memory, NULL, KRN_ERROR_NULL_ARGUMENT);
    ATTEND_WITH(workspace, memory, memory + 64, KRN_ERROR_ALIGNMENT);
    ATTEND_WITH(workspace, bytes, needed - 1, KRN_ERROR_BUFFER_TOO_SMALL);
#undef ATTEND_WITH
    CHECK_STATUS(krn_cuda_attention_workspace_size(&good_cache, &good_options, &good_batch, NULL),
                 KRN_ERROR_NULL_ARGUMENT);
    CHECK_STATUS(krn_cuda_attention(NULL, &good_cache, &good_options, &good_batch, &good_query, &good_output, memory,
                                    needed, NULL, NULL),
                 KRN_ERROR_NULL_ARGUMENT);
    desc.value_type = KRN_TYPE_BF16;
    CHECK_STATUS(krn_cuda_attention_workspace_size(&good_cache, &good_options, &good_batch, &needed),
                 KRN_ERROR_UNSUPPORTED);
    desc.key_type = desc.value_type = KRN_TYPE_F32;
    desc.head_dim = 136;
    CHECK_STATUS(krn_cuda_attention_workspace_size(&good_cache, &good_options, &good_batch, &needed),
                 KRN_ERROR_UNSUPPORTED);
}

int main(void) {
    static const int32_t pairs[][2] = {
        {KRN_TYPE_S8, KRN_TYPE_S8},     {KRN_TYPE_S4, KRN_TYPE_S4},   {KRN_TYPE_U4, KRN_TYPE_U4},
        {KRN_TYPE_S8, KRN_TYPE_U4},     {KRN_TYPE_S4, KRN_TYPE_S8},   {KRN_TYPE_U4, KRN_TYPE_S4},
        {KRN_TYPE_BF16, KRN_TYPE_BF16}, {KRN_TYPE_F32, KRN_TYPE_F32}, {KRN_TYPE_F8E4M3, KRN_TYPE_F8E4M3},
    };
    int32_t classes[4];
    krn_context *host = context_of(KRN_ISA_REF, 1);
    /* The kernels are the same for all classes. */
    cuda_classes(classes);
    krn_cuda_context *device = cuda_context_of(classes[0]);
    for (size_t i = 0; i < sizeof pairs / sizeof pairs[0]; i++) {
        random_cases(host, device, pairs[i][0], pairs[i][1], 6, 200, 1);
        /* Several chunks. */
        random_cases(host, device, pairs[i][0], pairs[i][1], 3, 1700, 0);
    }
    flags_are_set(device);
    arguments(device);
    krn_cuda_context_destroy(device);
    krn_context_destroy(host);
    return 0;
}
