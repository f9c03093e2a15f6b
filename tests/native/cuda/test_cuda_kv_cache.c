/* krn_cuda_kv_append leaves the pages that krn_kv_cache_append leaves, byte for byte, and krn_cuda_kv_read gives back what
 * krn_kv_cache_read does (cuda_kv_case.h), for every type; flags and arguments. */
#include "cuda_kv_case.h"

#include <math.h>

static void formats(krn_context *host, krn_cuda_context *device) {
    static const int32_t types[] = {KRN_TYPE_S8,     KRN_TYPE_S4,   KRN_TYPE_U4,
                                    KRN_TYPE_F8E4M3, KRN_TYPE_BF16, KRN_TYPE_F32};
    static const int32_t sources[] = {KRN_TYPE_F32, KRN_TYPE_F16, KRN_TYPE_BF16};
    static const int32_t dims[] = {64, 80, 96, 128, 8, 72};
    static const int64_t pages[] = {16, 32, 64, 160};
    test_random random = {3};
    for (int t = 0; t < 6; t++) {
        for (int s = 0; s < 3; s++) {
            const cuda_kv_case plain = {.key_type = types[t],
                                        .value_type = types[(t + s) % 6],
                                        .head_dim = dims[(t + 2 * s) % 6],
                                        .page_tokens = pages[(t + s) % 4],
                                        .source_type = sources[s]};
            cuda_kv_check(host, device, &plain, &random);
        }
        const cuda_kv_case with_static_scales = {.key_type = types[t],
                                                 .value_type = types[(t + 2) % 6],
                                                 .head_dim = dims[t],
                                                 .page_tokens = pages[t % 4],
                                                 .source_type = sources[t % 3],
                                                 .is_static = 1};
        cuda_kv_check(host, device, &with_static_scales, &random);
    }
    const cuda_kv_case wide = {.key_type = KRN_TYPE_S8,
                               .value_type = KRN_TYPE_S8,
                               .head_dim = 256,
                               .page_tokens = 64,
                               .source_type = KRN_TYPE_BF16};
    cuda_kv_check(host, device, &wide, &random);
}

/* One sequence of one token, whose page or whose data is bad. */
static void flags_are_set(krn_cuda_context *device) {
    const krn_kv_cache_desc desc = {.struct_size = sizeof desc,
                                    .sequences = 1,
                                    .kv_heads = 1,
                                    .head_dim = 16,
                                    .max_tokens = 16,
                                    .page_tokens = 16,
                                    .pages = 2,
                                    .key_type = KRN_TYPE_S8,
                                    .value_type = KRN_TYPE_S4};
    static const struct {
        int32_t page, sequence, length, expected;
        float x;
    } cases[] = {
        {1, 0, 1, 0, 1},
        {2, 0, 1, KRN_CUDA_FLAG_PAGES, 1},
        {-1, 0, 1, KRN_CUDA_FLAG_PAGES, 1},
        {1, 1, 1, KRN_CUDA_FLAG_PAGES, 1},
        {1, 0, 0, KRN_CUDA_FLAG_PAGES, 1},
        {1, 0, 17, KRN_CUDA_FLAG_PAGES, 1},
        {1, 0, 1, KRN_CUDA_FLAG_NON_FINITE, NAN},
        {1, 0, 1, KRN_CUDA_FLAG_NON_FINITE, -INFINITY},
    };
    int64_t pool_bytes = 0, page_bytes = 0;
    CHECK_OK(krn_cuda_kv_cache_bytes(&desc, &page_bytes, &pool_bytes));
    CHECK(pool_bytes == 2 * page_bytes, "2 pages of %lld bytes take %lld", (long long)page_bytes,
          (long long)pool_bytes);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const int32_t starts[2] = {0, 1};
        int32_t flags = 4;
        float x[16];
        for (int c = 0; c < 16; c++)
            x[c] = c == 9 ? cases[i].x : 1;
        const krn_cuda_kv_cache cache = {.struct_size = sizeof cache,
                                         .desc = &desc,
                                         .pool = cuda_allocate(device, pool_bytes),
                                         .pool_bytes = pool_bytes,
                                         .tables = cuda_copy_of(device, &cases[i].page, 4),
                                         .lengths = cuda_copy_of(device, &cases[i].length, 4)};
        const krn_cuda_kv_batch batch = {.struct_size = sizeof batch,
                                         .count = 1,
                                         .sequences = cuda_copy_of(device, &cases[i].sequence, 4),
                                         .starts = cuda_copy_of(device, starts, sizeof starts),
                                         .rows = 1,
                                         .max_rows = 1};
        const void *source = cuda_copy_of(device, x, sizeof x);
        const krn_cuda_kv_tokens tokens = {.struct_size = sizeof tokens,
                                           .type = KRN_TYPE_F32,
                                           .keys = source,
                                           .values = source,
                                           .key_ld = 16,
                                           .value_ld = 16};
        int32_t *device_flags = cuda_copy_of(device, &flags, sizeof flags);
        CHECK_OK(krn_cuda_kv_append(device, &cache, &batch, &tokens, device_flags, NULL));
        cuda_read(device, &flags, device_flags, sizeof flags);
        CHECK(flags == (4 | cases[i].expected), "case %d: the flags are %d", (int)i, flags);
        cuda_free_all(device);
    }
}

/* Nothing is launched: the addresses are none of the device's. */
static void arguments(krn_cuda_context *device) {
    _Alignas(256) static unsigned char memory[4096];
    krn_kv_cache_desc desc = {.struct_size = sizeof desc,
                              .sequences = 1,
                              .kv_heads = 1,
                              .head_dim = 16,
                              .max_tokens = 16,
                              .page_tokens = 16,
                              .key_type = KRN_TYPE_S8,
                              .value_type = KRN_TYPE_S8};
    int32_t words[4] = {0};
    const krn_cuda_kv_cache good = {.struct_size = sizeof good,
                                    .desc = &desc,
                                    .pool = memory,
                                    .pool_bytes = sizeof memory,
                                    .tables = words,
                                    .lengths = words};
    const krn_cuda_kv_batch good_batch = {
        .struct_size = sizeof good_batch, .count = 1, .sequences = words, .starts = words, .rows = 1, .max_rows = 1};
    const krn_cuda_kv_tokens good_tokens = {.struct_size = sizeof good_tokens,
                                            .type = KRN_TYPE_F16,
                                            .keys = memory,
                                            .values = memory,
                                            .key_ld = 16,
                                            .value_ld = 16};
#define APPEND_WITH(object, field, value, status)                                                                      \
    do {                                                                                                               \
        krn_cuda_kv_cache cache = good;                                                                                \
        krn_cuda_kv_batch batch = good_batch;                                                                          \
        krn_cuda_kv_tokens tokens = good_tokens;                                                                       \
        object.field = value;                                                                                          \
        CHECK_STATUS(krn_cuda_kv_append(device, &cache, &batch, &tokens, NULL, NULL), status);                         \
    } while (0)
    APPEND_WITH(cache, struct_size, 0, KRN_ERROR_STRUCT_SIZE);
    APPEND_WITH(cache, reserved, 1, KRN_ERROR_INVALID_ARGUMENT);
    APPEND_WITH(cache, desc, NULL, KRN_ERROR_NULL_ARGUMENT);
    APPEND_WITH(cache, pool, NULL, KRN_ERROR_NULL_ARGUMENT);
    APPEND_WITH(cache, pool, memory + 128, KRN_ERROR_ALIGNMENT);
    APPEND_WITH(cache, pool_bytes, 64, KRN_ERROR_BUFFER_TOO_SMALL);
    APPEND_WITH(cache, tables, NULL, KRN_ERROR_NULL_ARGUMENT);
    APPEND_WITH(cache, lengths, NULL, KRN_ERROR_NULL_ARGUMENT);
    APPEND_WITH(cache, lengths, (const int32_t *)(void *)(memory + 1), KRN_ERROR_ALIGNMENT);
    APPEND_WITH(cache, value_scales, (const float *)(void *)words, KRN_ERROR_INVALID_ARGUMENT);
    APPEND_WITH(cache, key_zero_points, words, KRN_ERROR_INVALID_ARGUMENT);
    APPEND_WITH(cache, means, (float *)(void *)words, KRN_ERROR_INVALID_ARGUMENT);
    APPEND_WITH(cache, mean_is_set, words, KRN_ERROR_INVALID_ARGUMENT);
    APPEND_WITH(cache, tails, (float *)(void *)memory, KRN_ERROR_INVALID_ARGUMENT);
    APPEND_WITH(batch, struct_size, 0, KRN_ERROR_STRUCT_SIZE);
    APPEND_WITH(batch, count, -1, KRN_ERROR_INVALID_ARGUMENT);
    APPEND_WITH(batch, count, 65536, KRN_ERROR_INVALID_ARGUMENT);
    APPEND_WITH(batch, rows, 2, KRN_ERROR_SHAPE);
    APPEND_WITH(batch, max_rows, 2, KRN_ERROR_SHAPE);
    APPEND_WITH(batch, starts, NULL, KRN_ERROR_NULL_ARGUMENT);
    APPEND_WITH(batch, sequences, (const int32_t *)(void *)(memory + 2), KRN_ERROR_ALIGNMENT);
    APPEND_WITH(batch, max_length, 17, KRN_ERROR_SHAPE);
    APPEND_WITH(tokens, struct_size, 0, KRN_ERROR_STRUCT_SIZE);
    APPEND_WITH(tokens, type, KRN_TYPE_S8, KRN_ERROR_INVALID_ARGUMENT);
    APPEND_WITH(tokens, keys, NULL, KRN_ERROR_NULL_ARGUMENT);
    APPEND_WITH(tokens, values, memory + 1, KRN_ERROR_ALIGNMENT);
    APPEND_WITH(tokens, value_ld, 15, KRN_ERROR_LEADING_DIMENSION);
    krn_rope_options rope = {.struct_size = sizeof rope, .head_dim = 16};
    APPEND_WITH(tokens, rope, &rope, KRN_ERROR_NULL_ARGUMENT);
    rope.head_dim = 32;
    APPEND_WITH(tokens, rope, &rope, KRN_ERROR_SHAPE);
    rope.layout = 2;
    APPEND_WITH(tokens, rope, &rope, KRN_ERROR_INVALID_ARGUMENT);
#undef APPEND_WITH
    CHECK_STATUS(krn_cuda_kv_append(NULL, &good, &good_batch, &good_tokens, NULL, NULL), KRN_ERROR_NULL_ARGUMENT);
    CHECK_STATUS(krn_cuda_kv_append(device, NULL, &good_batch, &good_tokens, NULL, NULL), KRN_ERROR_NULL_ARGUMENT);
    CHECK_STATUS(krn_cuda_kv_append(device, &good, NULL, &good_tokens, NULL, NULL), KRN_ERROR_NULL_ARGUMENT);
    CHECK_STATUS(krn_cuda_kv_append(device, &good, &good_batch, NULL, NULL, NULL), KRN_ERROR_NULL_ARGUMENT);
    desc.center_keys = 1;
    CHECK_STATUS(krn_cuda_kv_append(device, &good, &good_batch, &good_tokens, NULL, NULL), KRN_ERROR_NULL_ARGUMENT);
    desc.center_keys = 0;
    desc.key_granularity = KRN_KV_STATIC;
    CHECK_STATUS(krn_cuda_kv_append(device, &good, &good_batch, &good_tokens, NULL, NULL), KRN_ERROR_NULL_ARGUMENT);
    desc.key_granularity = KRN_KV_CHANNEL;
    desc.key_group = 16;
    CHECK_STATUS(krn_cuda_kv_append(device, &good, &good_batch, &good_tokens, NULL, NULL), KRN_ERROR_NULL_ARGUMENT);
    krn_cuda_kv_cache by_channel = good;
    by_channel.tails = (float *)(void *)(memory + 4);
    CHECK_STATUS(krn_cuda_kv_append(device, &by_channel, &good_batch, &good_tokens, NULL, NULL), KRN_ERROR_ALIGNMENT);
    /* Order 172 is a base; of 1048 there is no matrix at all. */
    desc.key_granularity = KRN_KV_TOKEN;
    desc.key_group = 0;
    desc.rotate_keys = 1;
    desc.head_dim = 344;
    CHECK_STATUS(krn_cuda_kv_cache_bytes(&desc, NULL, NULL), KRN_ERROR_UNSUPPORTED);
}

int main(void) {
    int32_t classes[4];
    krn_context *host = context_of(KRN_ISA_REF, 1);
    /* The kernels are the same for all classes. */
    cuda_classes(classes);
    krn_cuda_context *device = cuda_context_of(classes[0]);
    formats(host, device);
    flags_are_set(device);
    arguments(device);
    krn_cuda_context_destroy(device);
    krn_context_destroy(host);
    return 0;
}
