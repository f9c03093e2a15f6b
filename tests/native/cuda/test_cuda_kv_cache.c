/* krn_cuda_kv_append leaves the pages that krn_kv_cache_append leaves, byte for byte: both pools begin with the same bytes,
 * and tables are those of the CPU's cache, which is the host's scheduler here. */
#include "cuda_device.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { SEQUENCES = 5, FILL = 0xA5 };

typedef struct {
    krn_kv_cache_desc desc;
    krn_kv_cache *cache;
    unsigned char *memory;
    int64_t page_bytes, pool_bytes, table_pages;
} host_cache;

/* Static scales, small enough to clip; zero points for values alone. */
static const float static_scales[] = {0.011f, 0.3f, 0.05f};
static const int32_t static_zero_points[] = {3, 15, 9};

static int has_scales(int32_t type) { return type != KRN_TYPE_F32 && type != KRN_TYPE_BF16; }

static host_cache make_host(int32_t key_type, int32_t value_type, int32_t head_dim, int64_t page_tokens,
                            int is_static) {
    host_cache h = {.desc = {.struct_size = sizeof h.desc,
                             .sequences = SEQUENCES,
                             .kv_heads = 3,
                             .head_dim = head_dim,
                             .max_tokens = 150,
                             .page_tokens = page_tokens,
                             .key_type = key_type,
                             .value_type = value_type}};
    if (is_static && has_scales(key_type)) {
        h.desc.key_granularity = KRN_KV_STATIC;
        h.desc.key_scales = static_scales;
    }
    if (is_static && has_scales(value_type)) {
        h.desc.value_granularity = KRN_KV_STATIC;
        h.desc.value_scales = static_scales;
        h.desc.value_zero_points = value_type == KRN_TYPE_U4 ? static_zero_points : NULL;
    }
    krn_kv_cache_sizes sizes = {.struct_size = sizeof sizes};
    CHECK_OK(krn_kv_cache_bytes(&h.desc, &sizes));
    CHECK_OK(krn_cuda_kv_cache_bytes(&h.desc, &h.page_bytes, &h.pool_bytes));
    h.memory = guarded_allocate(sizes.total, GUARD_START);
    memset(h.memory, FILL, (size_t)sizes.total);
    CHECK_OK(krn_kv_cache_create(&h.desc, h.memory, sizes.total, &h.cache));
    h.table_pages = (h.desc.max_tokens + page_tokens - 1) / page_tokens;
    return h;
}

/* Tables and lengths of the CPU's cache. */
static void mirror(const host_cache *h, int32_t *tables, int32_t *lengths) {
    for (int32_t s = 0; s < SEQUENCES; s++) {
        int64_t count = 0, length = 0;
        for (int64_t i = 0; i < h->table_pages; i++)
            tables[s * h->table_pages + i] = -1;
        CHECK_OK(krn_kv_cache_table(h->cache, s, h->table_pages, tables + s * h->table_pages, &count));
        CHECK_OK(krn_kv_cache_length(h->cache, s, &length));
        lengths[s] = (int32_t)length;
    }
}

static int64_t element_bytes(int32_t type) { return type == KRN_TYPE_F32 ? 4 : 2; }

/* Random tokens, with rows of zeros among them. */
static void *make_tokens(test_random *random, int32_t type, int64_t rows, int64_t ld) {
    unsigned char *data = guarded_allocate(rows * ld * element_bytes(type), GUARD_END);
    for (int64_t i = 0; i < rows * ld; i++) {
        const float x = random_between(random, 0, 40) == 0 || i / ld % 11 == 7 ? 0 : random_activation(random);
        uint32_t bits;
        memcpy(&bits, &x, 4);
        const uint16_t bf16 = (uint16_t)(bits >> 16);
        if (type == KRN_TYPE_F32)
            memcpy(data + 4 * i, &x, 4);
        else if (type == KRN_TYPE_BF16)
            memcpy(data + 2 * i, &bf16, 2);
        else
            ((uint16_t *)(void *)data)[i] = (uint16_t)(random_next(random) % 0x7800 | (random_next(random) & 1) << 15);
    }
    return data;
}

/* The last tokens of every sequence, dequantized here and there. */
static void read_and_compare(const host_cache *h, krn_context *host, krn_cuda_context *device,
                             const krn_cuda_kv_cache *cache, const int32_t *lengths, int32_t type,
                             test_random *random) {
    const int64_t width = (int64_t)h->desc.kv_heads * h->desc.head_dim, key_ld = width + 5, value_ld = width + 2;
    const int64_t bytes = element_bytes(type);
    int32_t sequences[SEQUENCES], starts[SEQUENCES + 1] = {0};
    krn_cuda_kv_batch batch = {.struct_size = sizeof batch, .count = SEQUENCES};
    for (int32_t s = 0; s < SEQUENCES; s++) {
        const int32_t rows = (int32_t)random_between(random, 0, lengths[s]);
        sequences[s] = s;
        batch.max_rows = batch.max_rows > rows ? batch.max_rows : rows;
        starts[s + 1] = batch.rows += rows;
    }
    /* What a read leaves alone is filled on both sides. */
    unsigned char *keys = guarded_allocate(batch.rows * key_ld * bytes, GUARD_END);
    unsigned char *values = guarded_allocate(batch.rows * value_ld * bytes, GUARD_END);
    for (int32_t s = 0; s < SEQUENCES; s++) {
        const int32_t rows = starts[s + 1] - starts[s];
        CHECK_OK(krn_kv_cache_read(host, h->cache, s, lengths[s] - rows, rows, type, keys + starts[s] * key_ld * bytes,
                                   key_ld, values + starts[s] * value_ld * bytes, value_ld));
    }
    batch.sequences = cuda_copy_of(device, sequences, sizeof sequences);
    batch.starts = cuda_copy_of(device, starts, sizeof starts);
    const krn_cuda_kv_target target = {.struct_size = sizeof target,
                                       .type = type,
                                       .keys = cuda_allocate(device, batch.rows * key_ld * bytes),
                                       .values = cuda_allocate(device, batch.rows * value_ld * bytes),
                                       .key_ld = key_ld,
                                       .value_ld = value_ld};
    CHECK_OK(krn_cuda_kv_read(device, cache, &batch, &target, NULL, NULL));
    unsigned char *actual = guarded_allocate(batch.rows * (key_ld + value_ld) * bytes, GUARD_END);
    cuda_read(device, actual, target.keys, batch.rows * key_ld * bytes);
    cuda_read(device, actual + batch.rows * key_ld * bytes, target.values, batch.rows * value_ld * bytes);
    for (int64_t i = 0; i < batch.rows * (key_ld + value_ld) * bytes; i++) {
        const int64_t in_values = i - batch.rows * key_ld * bytes;
        const unsigned char expected = in_values < 0 ? keys[i] : values[in_values];
        CHECK(actual[i] == expected, "types %d and %d to %d, head_dim %d: byte %lld of %s is %d, the CPU's %d",
              h->desc.key_type, h->desc.value_type, type, h->desc.head_dim, (long long)(in_values < 0 ? i : in_values),
              in_values < 0 ? "keys" : "values", actual[i], expected);
    }
}

static void append_and_compare(krn_context *host, krn_cuda_context *device, int32_t key_type, int32_t value_type,
                               int32_t head_dim, int64_t page_tokens, int32_t source_type, int is_static,
                               test_random *random) {
    const host_cache h = make_host(key_type, value_type, head_dim, page_tokens, is_static);
    unsigned char *pool = cuda_allocate(device, h.pool_bytes), *read = malloc((size_t)h.pool_bytes);
    int32_t tables[SEQUENCES * 10], lengths[SEQUENCES], flags = 0;
    int32_t *device_flags = cuda_copy_of(device, &flags, sizeof flags);
    for (int round = 0; round < 4; round++) {
        krn_cuda_kv_batch batch = {.struct_size = sizeof batch};
        int32_t sequences[SEQUENCES], starts[SEQUENCES + 1] = {0};
        int64_t tokens[SEQUENCES];
        for (int32_t s = SEQUENCES - 1; s >= 0; s--) {
            if (random_between(random, 0, 3) == 0)
                continue;
            const int64_t some = round % 2 == 0 ? random_between(random, 0, 37) : 1;
            sequences[batch.count] = s;
            tokens[batch.count] = some;
            batch.max_rows = batch.max_rows > some ? batch.max_rows : (int32_t)some;
            batch.rows += (int32_t)some;
            starts[++batch.count] = batch.rows;
        }
        const int64_t width = (int64_t)h.desc.kv_heads * head_dim;
        const int64_t key_ld = width + random_between(random, 0, 1) * 3, value_ld = width + 8 * (round % 2);
        void *keys = make_tokens(random, source_type, batch.rows, key_ld);
        void *values = make_tokens(random, source_type, batch.rows, value_ld);
        const krn_kv_append_options options = {
            .struct_size = sizeof options, .source_type = source_type, .key_ld = key_ld, .value_ld = value_ld};
        CHECK_OK(krn_kv_cache_append(host, h.cache, batch.count, sequences, tokens, keys, values, &options));
        mirror(&h, tables, lengths);
        const int64_t source_bytes = batch.rows * element_bytes(source_type);
        krn_cuda_kv_cache cache = {
            .struct_size = sizeof cache,
            .desc = &h.desc,
            .pool = pool,
            .pool_bytes = h.pool_bytes,
            .tables = cuda_copy_of(device, tables, SEQUENCES * h.table_pages * 4),
            .lengths = cuda_copy_of(device, lengths, sizeof lengths),
        };
        if (h.desc.key_scales != NULL)
            cache.key_scales = cuda_copy_of(device, static_scales, sizeof static_scales);
        if (h.desc.value_scales != NULL)
            cache.value_scales = cuda_copy_of(device, static_scales, sizeof static_scales);
        if (h.desc.value_zero_points != NULL)
            cache.value_zero_points = cuda_copy_of(device, static_zero_points, sizeof static_zero_points);
        batch.sequences = cuda_copy_of(device, sequences, sizeof sequences);
        batch.starts = cuda_copy_of(device, starts, sizeof starts);
        const krn_cuda_kv_tokens source = {
            .struct_size = sizeof source,
            .type = source_type,
            .keys = cuda_copy_of(device, keys, source_bytes * key_ld),
            .values = cuda_copy_of(device, values, source_bytes * value_ld),
            .key_ld = key_ld,
            .value_ld = value_ld,
        };
        CHECK_OK(krn_cuda_kv_append(device, &cache, &batch, &source, device_flags, NULL));
        cuda_read(device, read, pool, h.pool_bytes);
        for (int64_t i = 0; i < h.pool_bytes; i++)
            CHECK(read[i] == h.memory[i],
                  "types %d and %d from %d, head_dim %d, round %d: byte %lld of page %lld is %d, the CPU's %d",
                  key_type, value_type, source_type, head_dim, round, (long long)(i % h.page_bytes),
                  (long long)(i / h.page_bytes), read[i], h.memory[i]);
        read_and_compare(&h, host, device, &cache, lengths, source_type, random);
    }
    cuda_read(device, &flags, device_flags, sizeof flags);
    CHECK(flags == 0, "good tokens set the flags %d", flags);
    free(read);
    krn_kv_cache_destroy(h.cache);
    cuda_free_all(device);
    guarded_free_all();
}

static void formats(krn_context *host, krn_cuda_context *device) {
    static const int32_t types[] = {KRN_TYPE_S8,     KRN_TYPE_S4,   KRN_TYPE_U4,
                                    KRN_TYPE_F8E4M3, KRN_TYPE_BF16, KRN_TYPE_F32};
    static const int32_t sources[] = {KRN_TYPE_F32, KRN_TYPE_F16, KRN_TYPE_BF16};
    static const int32_t dims[] = {64, 80, 96, 128, 8, 72};
    static const int64_t pages[] = {16, 32, 64, 160};
    test_random random = {3};
    for (int t = 0; t < 6; t++) {
        for (int s = 0; s < 3; s++)
            append_and_compare(host, device, types[t], types[(t + s) % 6], dims[(t + 2 * s) % 6], pages[(t + s) % 4],
                               sources[s], 0, &random);
        append_and_compare(host, device, types[t], types[(t + 2) % 6], dims[t], pages[t % 4], sources[t % 3], 1,
                           &random);
    }
    append_and_compare(host, device, KRN_TYPE_S8, KRN_TYPE_S8, 256, 64, KRN_TYPE_BF16, 0, &random);
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
#undef APPEND_WITH
    CHECK_STATUS(krn_cuda_kv_append(NULL, &good, &good_batch, &good_tokens, NULL, NULL), KRN_ERROR_NULL_ARGUMENT);
    CHECK_STATUS(krn_cuda_kv_append(device, NULL, &good_batch, &good_tokens, NULL, NULL), KRN_ERROR_NULL_ARGUMENT);
    CHECK_STATUS(krn_cuda_kv_append(device, &good, NULL, &good_tokens, NULL, NULL), KRN_ERROR_NULL_ARGUMENT);
    CHECK_STATUS(krn_cuda_kv_append(device, &good, &good_batch, NULL, NULL, NULL), KRN_ERROR_NULL_ARGUMENT);
    desc.center_keys = 1;
    CHECK_STATUS(krn_cuda_kv_cache_bytes(&desc, NULL, NULL), KRN_ERROR_UNSUPPORTED);
    desc.center_keys = 0;
    desc.key_granularity = KRN_KV_STATIC;
    CHECK_STATUS(krn_cuda_kv_append(device, &good, &good_batch, &good_tokens, NULL, NULL), KRN_ERROR_NULL_ARGUMENT);
    desc.key_granularity = KRN_KV_CHANNEL;
    desc.key_group = 16;
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
