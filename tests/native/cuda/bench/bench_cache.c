#include "bench_cache.h"

#include <stdlib.h>

enum { FILL_TOKENS = 1024 };

double bench_token_bytes(int32_t type, int64_t heads) {
    const int64_t bits = bench_bits(type);
    return 2.0 * (double)heads * ((double)(BENCH_HEAD_DIM * bits) / 8 + (bits <= 8 ? 4 : 0));
}

/* All sequences have `tokens` tokens. */
static void set_lengths(bench_device *device, bench_cache *cache, int64_t tokens) {
    int32_t *const lengths = bench_allocate(cache->desc.sequences * (int64_t)sizeof(int32_t));
    for (int32_t i = 0; i < cache->desc.sequences; i++)
        lengths[i] = (int32_t)tokens;
    bench_check(krn_cuda_memory_copy_to_device(device->context, cache->lengths, lengths,
                                               cache->desc.sequences * (int64_t)sizeof(int32_t), device->stream),
                "copying lengths");
    bench_check(krn_cuda_stream_synchronize(device->context, device->stream), "copying lengths");
    free(lengths);
}

/* The pages of all sequences, in random order. */
static void *make_tables(bench_device *device, int64_t pages) {
    int32_t *const tables = bench_allocate(pages * (int64_t)sizeof(int32_t));
    uint32_t random = 2463534242u;
    for (int64_t i = 0; i < pages; i++) {
        random = random * 1664525u + 1013904223u;
        const int64_t other = (int64_t)(random >> 8) % (i + 1);
        tables[i] = tables[other];
        tables[other] = (int32_t)i;
    }
    void *const memory = bench_copy(device, tables, pages * (int64_t)sizeof(int32_t));
    free(tables);
    return memory;
}

void bench_cache_open(bench_device *device, int32_t type, int64_t heads, int64_t sequences, int64_t tokens,
                      bench_cache *cache) {
    *cache = (bench_cache){.desc = {.struct_size = sizeof cache->desc,
                                    .sequences = (int32_t)sequences,
                                    .kv_heads = (int32_t)heads,
                                    .head_dim = BENCH_HEAD_DIM,
                                    .max_tokens = tokens,
                                    .page_tokens = BENCH_PAGE_TOKENS,
                                    .key_type = type,
                                    .value_type = type}};
    const int64_t pages = (tokens + BENCH_PAGE_TOKENS - 1) / BENCH_PAGE_TOKENS * sequences;
    bench_check(krn_cuda_kv_cache_bytes(&cache->desc, NULL, &cache->pool_bytes), "asking for the size of a cache");
    bench_check(krn_cuda_memory_allocate(device->context, cache->pool_bytes, &cache->pool), "allocating");
    /* What lies behind the last token of a page is read, and weighted with zero. */
    bench_check(krn_cuda_memory_set(device->context, cache->pool, 0, cache->pool_bytes, device->stream), "clearing");
    cache->tables = make_tables(device, pages);
    bench_check(krn_cuda_memory_allocate(device->context, sequences * (int64_t)sizeof(int32_t), &cache->lengths),
                "allocating");
    set_lengths(device, cache, tokens);
}

void bench_cache_fill(bench_device *device, bench_cache *cache) {
    const int64_t tokens = cache->desc.max_tokens, sequences = cache->desc.sequences;
    const int64_t width = (int64_t)cache->desc.kv_heads * BENCH_HEAD_DIM;
    const int64_t chunk = tokens < FILL_TOKENS ? tokens : FILL_TOKENS;
    const krn_cuda_kv_cache view = bench_cache_view(cache);
    void *const keys = bench_activations(device, KRN_TYPE_BF16, sequences * chunk * width, 24);
    void *const values = bench_activations(device, KRN_TYPE_BF16, sequences * chunk * width, 25);
    const krn_cuda_kv_tokens source = {.struct_size = sizeof source,
                                       .type = KRN_TYPE_BF16,
                                       .keys = keys,
                                       .values = values,
                                       .key_ld = width,
                                       .value_ld = width};
    for (int64_t done = 0; done < tokens; done += chunk) {
        const int64_t now = tokens - done < chunk ? tokens - done : chunk;
        krn_cuda_kv_batch batch = bench_batch_open(device, cache, now);
        set_lengths(device, cache, done + now);
        bench_check(krn_cuda_kv_append(device->context, &view, &batch, &source, device->flags, device->stream),
                    "filling a cache");
        bench_check(krn_cuda_stream_synchronize(device->context, device->stream), "filling a cache");
        bench_batch_close(device, &batch);
    }
    bench_free(device, keys);
    bench_free(device, values);
}

void bench_cache_close(bench_device *device, bench_cache *cache) {
    bench_free(device, cache->pool);
    bench_free(device, cache->tables);
    bench_free(device, cache->lengths);
}

krn_cuda_kv_cache bench_cache_view(const bench_cache *cache) {
    return (krn_cuda_kv_cache){.struct_size = sizeof(krn_cuda_kv_cache),
                               .desc = &cache->desc,
                               .pool = cache->pool,
                               .pool_bytes = cache->pool_bytes,
                               .tables = cache->tables,
                               .lengths = cache->lengths};
}

krn_cuda_kv_batch bench_batch_open(bench_device *device, const bench_cache *cache, int64_t rows) {
    const int32_t count = cache->desc.sequences;
    int32_t *const numbers = bench_allocate((count + 1) * (int64_t)sizeof(int32_t));
    krn_cuda_kv_batch batch = {
        .struct_size = sizeof batch, .count = count, .rows = (int32_t)(count * rows), .max_rows = (int32_t)rows};
    for (int32_t i = 0; i < count; i++)
        numbers[i] = i;
    batch.sequences = bench_copy(device, numbers, count * (int64_t)sizeof(int32_t));
    for (int32_t i = 0; i <= count; i++)
        numbers[i] = (int32_t)(i * rows);
    batch.starts = bench_copy(device, numbers, (count + 1) * (int64_t)sizeof(int32_t));
    free(numbers);
    return batch;
}

void bench_batch_close(bench_device *device, krn_cuda_kv_batch *batch) {
    bench_free(device, (void *)(uintptr_t)batch->sequences);
    bench_free(device, (void *)(uintptr_t)batch->starts);
}
