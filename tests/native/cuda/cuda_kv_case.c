#include "cuda_kv_case.h"

#include "kv_cache/kv_layout.h"
#include "kv_cache/kv_memory.h"

#include <stdlib.h>
#include <string.h>

enum { SEQUENCES = 5, KV_HEADS = 3, MAX_TOKENS = 150, MAX_POSITIONS = 200, FILL = 0xA5 };

typedef struct {
    krn_kv_cache_desc desc;
    krn_kv_cache *cache;
    unsigned char *memory;
    int64_t page_bytes, pool_bytes, table_pages, tail_bytes, mean_bytes;
    const float *tails;
} host_cache;

/* Static scales, small enough to clip; zero points for values alone. */
static const float static_scales[] = {0.011f, 0.3f, 0.05f};
static const int32_t static_zero_points[] = {3, 15, 9};

static int has_scales(int32_t type) { return type != KRN_TYPE_F32 && type != KRN_TYPE_BF16; }

static host_cache make_host(const cuda_kv_case *c) {
    host_cache h = {.desc = {.struct_size = sizeof h.desc,
                             .sequences = SEQUENCES,
                             .kv_heads = KV_HEADS,
                             .head_dim = c->head_dim,
                             .max_tokens = MAX_TOKENS,
                             .page_tokens = c->page_tokens,
                             .key_type = c->key_type,
                             .value_type = c->value_type,
                             .key_granularity = c->key_group != 0 ? KRN_KV_CHANNEL : KRN_KV_TOKEN,
                             .key_group = c->key_group,
                             .rotate_keys = c->rotates,
                             .center_keys = c->centers}};
    if (c->is_static && has_scales(c->key_type)) {
        h.desc.key_granularity = KRN_KV_STATIC;
        h.desc.key_scales = static_scales;
    }
    if (c->is_static && has_scales(c->value_type)) {
        h.desc.value_granularity = KRN_KV_STATIC;
        h.desc.value_scales = static_scales;
        h.desc.value_zero_points = c->value_type == KRN_TYPE_U4 ? static_zero_points : NULL;
    }
    krn_kv_cache_sizes sizes = {.struct_size = sizeof sizes};
    CHECK_OK(krn_kv_cache_bytes(&h.desc, &sizes));
    CHECK_OK(krn_cuda_kv_cache_bytes(&h.desc, &h.page_bytes, &h.pool_bytes));
    h.memory = guarded_allocate(sizes.total, GUARD_START);
    memset(h.memory, FILL, (size_t)sizes.total);
    CHECK_OK(krn_kv_cache_create(&h.desc, h.memory, sizes.total, &h.cache));
    h.table_pages = (h.desc.max_tokens + c->page_tokens - 1) / c->page_tokens;
    const krn_kv_layout layout = krn_kv_layout_of(&h.desc);
    h.tails = (const float *)(const void *)(h.memory + krn_kv_parts_of(&h.desc, &layout).tails);
    h.tail_bytes = sizes.tails;
    h.mean_bytes = sizes.means;
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

/* Every other sequence has a mean that the caller sets, where keys are centered. */
static void set_means(const host_cache *h, krn_cuda_context *device, krn_cuda_kv_cache *cache, test_random *random) {
    const int32_t width = KV_HEADS * h->desc.head_dim;
    int32_t is_set[SEQUENCES] = {0};
    float *means = guarded_allocate(h->mean_bytes, GUARD_END);
    for (int32_t s = 1; s < SEQUENCES; s += 2) {
        is_set[s] = 1;
        for (int32_t i = 0; i < width; i++)
            means[s * width + i] = random_activation(random);
        CHECK_OK(krn_kv_cache_set_key_mean(h->cache, s, means + s * width));
    }
    cache->means = cuda_copy_of(device, means, h->mean_bytes);
    cache->mean_is_set = cuda_copy_of(device, is_set, sizeof is_set);
}

static void compare_means(const host_cache *h, krn_cuda_context *device, const krn_cuda_kv_cache *cache,
                          const int32_t *lengths) {
    const int64_t width = (int64_t)KV_HEADS * h->desc.head_dim;
    float *expected = guarded_allocate(width * 4, GUARD_END), *actual = guarded_allocate(h->mean_bytes, GUARD_END);
    cuda_read(device, actual, cache->means, h->mean_bytes);
    for (int32_t s = 0; s < SEQUENCES; s++) {
        CHECK_OK(krn_kv_cache_key_mean(h->cache, s, expected));
        for (int64_t i = 0; i < width && lengths[s] > 0; i++)
            CHECK(memcmp(actual + s * width + i, expected + i, 4) == 0,
                  "head_dim %d: mean %lld of sequence %d is %a, the CPU's %a", h->desc.head_dim, (long long)i, s,
                  (double)actual[s * width + i], (double)expected[i]);
    }
}

/* Blocks of 16 tokens that hold one of an incomplete group. */
static void compare_tails(const host_cache *h, krn_cuda_context *device, const krn_cuda_kv_cache *cache,
                          const int32_t *lengths) {
    const int32_t group = h->desc.key_group, dim = h->desc.head_dim;
    float *actual = guarded_allocate(h->tail_bytes, GUARD_END);
    cuda_read(device, actual, cache->tails, h->tail_bytes);
    for (int32_t s = 0; s < SEQUENCES; s++) {
        for (int32_t head = 0; head < KV_HEADS; head++) {
            const int64_t at = ((int64_t)s * KV_HEADS + head) * group * dim;
            const float *tail = actual + at, *expected = h->tails + at;
            for (int32_t i = 0; i < (lengths[s] % group + 15) / 16 * 16 * dim; i++)
                CHECK(memcmp(tail + i, expected + i, 4) == 0,
                      "group %d, head_dim %d: float %d of the tail of sequence %d, head %d is %a, the CPU's %a", group,
                      dim, i, s, head, (double)tail[i], (double)expected[i]);
        }
    }
}

/* One round: some tokens of some sequences; with `is_decode` one of each. */
static void append_round(const host_cache *h, krn_context *host, krn_cuda_context *device, const cuda_kv_case *c,
                         krn_cuda_kv_cache *cache, int is_decode, test_random *random) {
    krn_cuda_kv_batch batch = {.struct_size = sizeof batch};
    int32_t sequences[SEQUENCES], starts[SEQUENCES + 1] = {0}, positions[SEQUENCES * MAX_TOKENS];
    int32_t tables[SEQUENCES * 10], lengths[SEQUENCES];
    int64_t tokens[SEQUENCES];
    for (int32_t s = SEQUENCES - 1; s >= 0; s--) {
        if (random_between(random, 0, 3) == 0)
            continue;
        const int64_t some = is_decode ? 1 : random_between(random, 0, 37);
        sequences[batch.count] = s;
        tokens[batch.count] = some;
        batch.max_rows = batch.max_rows > some ? batch.max_rows : (int32_t)some;
        batch.rows += (int32_t)some;
        starts[++batch.count] = batch.rows;
    }
    const int64_t width = (int64_t)KV_HEADS * c->head_dim;
    const int64_t key_ld = width + random_between(random, 0, 1) * 3, value_ld = width + 8 * is_decode;
    void *keys = make_tokens(random, c->source_type, batch.rows, key_ld);
    void *values = make_tokens(random, c->source_type, batch.rows, value_ld);
    krn_kv_append_options options = {
        .struct_size = sizeof options, .source_type = c->source_type, .key_ld = key_ld, .value_ld = value_ld};
    krn_cuda_kv_tokens source = {
        .struct_size = sizeof source, .type = c->source_type, .key_ld = key_ld, .value_ld = value_ld};
    if (c->rope != NULL) {
        /* Without positions of their own, tokens count from 0. */
        const int64_t first = c->has_positions ? 7 : 0;
        const int64_t columns = c->rope->rotary_dim != 0 ? c->rope->rotary_dim : c->head_dim;
        float *table = guarded_allocate(MAX_POSITIONS * columns * 4, GUARD_END);
        CHECK_OK(krn_rope_table(c->rope, first, MAX_POSITIONS, table));
        for (int32_t i = 0; i < batch.rows; i++)
            positions[i] = (int32_t)random_between(random, first, first + MAX_POSITIONS - 1);
        options.rope = source.rope = c->rope;
        options.cos_sin = table;
        options.first_position = source.first_position = first;
        options.position_count = source.position_count = MAX_POSITIONS;
        options.positions = c->has_positions ? positions : NULL;
        source.cos_sin = cuda_copy_of(device, table, MAX_POSITIONS * columns * 4);
        source.positions = c->has_positions ? cuda_copy_of(device, positions, batch.rows * 4) : NULL;
    }
    CHECK_OK(krn_kv_cache_append(host, h->cache, batch.count, sequences, tokens, keys, values, &options));
    mirror(h, tables, lengths);
    const int64_t source_bytes = batch.rows * element_bytes(c->source_type);
    int32_t flags = 0;
    int32_t *device_flags = cuda_copy_of(device, &flags, sizeof flags);
    cache->tables = cuda_copy_of(device, tables, SEQUENCES * h->table_pages * 4);
    cache->lengths = cuda_copy_of(device, lengths, sizeof lengths);
    batch.sequences = cuda_copy_of(device, sequences, sizeof sequences);
    batch.starts = cuda_copy_of(device, starts, sizeof starts);
    source.keys = cuda_copy_of(device, keys, source_bytes * key_ld);
    source.values = cuda_copy_of(device, values, source_bytes * value_ld);
    CHECK_OK(krn_cuda_kv_append(device, cache, &batch, &source, device_flags, NULL));
    unsigned char *read = malloc((size_t)h->pool_bytes);
    cuda_read(device, read, cache->pool, h->pool_bytes);
    for (int64_t i = 0; i < h->pool_bytes; i++)
        CHECK(read[i] == h->memory[i],
              "types %d and %d from %d, head_dim %d, group %d: byte %lld of page %lld is %d, the CPU's %d", c->key_type,
              c->value_type, c->source_type, c->head_dim, c->key_group, (long long)(i % h->page_bytes),
              (long long)(i / h->page_bytes), read[i], h->memory[i]);
    free(read);
    if (c->centers)
        compare_means(h, device, cache, lengths);
    if (c->key_group != 0)
        compare_tails(h, device, cache, lengths);
    read_and_compare(h, host, device, cache, lengths, c->source_type, random);
    cuda_read(device, &flags, device_flags, sizeof flags);
    CHECK(flags == 0, "good tokens set the flags %d", flags);
}

void cuda_kv_check(krn_context *host, krn_cuda_context *device, const cuda_kv_case *c, test_random *random) {
    const host_cache h = make_host(c);
    krn_cuda_kv_cache cache = {
        .struct_size = sizeof cache,
        .desc = &h.desc,
        .pool = cuda_allocate(device, h.pool_bytes),
        .pool_bytes = h.pool_bytes,
    };
    if (h.desc.key_scales != NULL)
        cache.key_scales = cuda_copy_of(device, static_scales, sizeof static_scales);
    if (h.desc.value_scales != NULL)
        cache.value_scales = cuda_copy_of(device, static_scales, sizeof static_scales);
    if (h.desc.value_zero_points != NULL)
        cache.value_zero_points = cuda_copy_of(device, static_zero_points, sizeof static_zero_points);
    if (c->centers)
        set_means(&h, device, &cache, random);
    if (c->key_group != 0)
        cache.tails = cuda_allocate(device, h.tail_bytes);
    for (int round = 0; round < 4; round++)
        append_round(&h, host, device, c, &cache, round % 2, random);
    krn_kv_cache_destroy(h.cache);
    cuda_free_all(device);
    guarded_free_all();
}
