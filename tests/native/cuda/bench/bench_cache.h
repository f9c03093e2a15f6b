/* A KV cache on the device, filled with keys and values of sequences of one length. */
#ifndef KRN_CUDA_BENCH_CACHE_H
#define KRN_CUDA_BENCH_CACHE_H

#include "bench.h"

enum { BENCH_HEAD_DIM = 128, BENCH_PAGE_TOKENS = 64 };

typedef struct bench_cache {
    krn_kv_cache_desc desc;
    void *pool, *tables, *lengths;
    int64_t pool_bytes;
} bench_cache;

/* Keys and values of one type, a scale per token and head where it has one; pages of a sequence lie anywhere. */
void bench_cache_open(bench_device *device, int32_t type, int64_t heads, int64_t sequences, int64_t tokens,
                      bench_cache *cache);
/* Appends tokens to all sequences until they have as many as there is room for. */
void bench_cache_fill(bench_device *device, bench_cache *cache);
void bench_cache_close(bench_device *device, bench_cache *cache);

/* What calls take; valid as long as the cache. */
krn_cuda_kv_cache bench_cache_view(const bench_cache *cache);

/* The last `rows` tokens of every sequence. */
krn_cuda_kv_batch bench_batch_open(bench_device *device, const bench_cache *cache, int64_t rows);
void bench_batch_close(bench_device *device, krn_cuda_kv_batch *batch);

/* Bytes of a token's keys and values, scales included. */
double bench_token_bytes(int32_t type, int64_t heads);

#endif
