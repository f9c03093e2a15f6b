/* What the KV cache is on devices: from a description and memory to what kernels see. */
#include "kernels/cuda_kv_cache.h"

#include "cuda/common/arguments.h"
#include "cuda/hadamard/rotation.h"
#include "cuda/kv_cache/kv_view.h"
#include "kv_cache/kv_layout.h"
#include "kv_cache/kv_memory.h"

static krn_status check_desc(const krn_kv_cache_desc *desc) {
    const krn_status status = krn_kv_check_desc(desc, 0);
    if (status != KRN_OK)
        return status;
    krn_cuda_head_rotation rotation;
    return desc->rotate_keys ? krn_cuda_head_rotation_of(desc->head_dim, 0, &rotation) : KRN_OK;
}

krn_status krn_cuda_kv_cache_bytes(const krn_kv_cache_desc *desc, int64_t *page_bytes, int64_t *pool_bytes) {
    const krn_status status = check_desc(desc);
    if (status != KRN_OK)
        return status;
    const krn_kv_layout layout = krn_kv_layout_of(desc);
    if (page_bytes != NULL)
        *page_bytes = layout.page_bytes;
    if (pool_bytes != NULL)
        *pool_bytes = layout.page_bytes * krn_kv_pages(desc, &layout);
    return KRN_OK;
}

static krn_cuda_kv_section section_of(int32_t type, int32_t granularity, int64_t codes_at, int64_t block_bytes,
                                      int64_t scales_at, int32_t stored_dim, const float *static_scales,
                                      const int32_t *static_zero_points) {
    return (krn_cuda_kv_section){.type = type,
                                 .static_scales = static_scales,
                                 .static_zero_points = static_zero_points,
                                 .bits = krn_kv_bits(type),
                                 .codes_at = codes_at,
                                 .block_bytes = block_bytes,
                                 .scales_at = scales_at,
                                 .has_scales = krn_kv_bits(type) <= 8 && granularity == KRN_KV_TOKEN,
                                 .has_zero_points = type == KRN_TYPE_U4 && granularity == KRN_KV_TOKEN,
                                 .stored_dim = stored_dim};
}

/* Static scales and zero points of keys or values, in device memory. */
static krn_status check_static(const char *name, int32_t type, int32_t granularity, const float *scales,
                               const int32_t *zero_points) {
    if (granularity != KRN_KV_STATIC && (scales != NULL || zero_points != NULL))
        return krn_fail(KRN_ERROR_INVALID_ARGUMENT, "cache->%s_%s must be NULL but for KRN_KV_STATIC", name,
                        scales != NULL ? "scales" : "zero_points");
    if (granularity == KRN_KV_STATIC && scales == NULL)
        return krn_fail(KRN_ERROR_NULL_ARGUMENT, "cache->%s_scales is NULL", name);
    if (zero_points != NULL && type != KRN_TYPE_U4)
        return krn_fail(KRN_ERROR_INVALID_ARGUMENT, "cache->%s_zero_points must be NULL but for KRN_TYPE_U4", name);
    if ((uintptr_t)scales % sizeof(float) != 0 || (uintptr_t)zero_points % sizeof(int32_t) != 0)
        return krn_fail(KRN_ERROR_ALIGNMENT, "cache->%s_scales or zero_points is not aligned to 4 bytes", name);
    return KRN_OK;
}

/* Means and tails, which a cache has or must not have. */
static krn_status check_extra(const char *name, const void *memory, int is_wanted, uintptr_t alignment,
                              const char *reason) {
    if (!is_wanted && memory != NULL)
        return krn_fail(KRN_ERROR_INVALID_ARGUMENT, "cache->%s must be NULL but for %s", name, reason);
    if (is_wanted && memory == NULL)
        return krn_fail(KRN_ERROR_NULL_ARGUMENT, "cache->%s is NULL", name);
    if ((uintptr_t)memory % alignment != 0)
        return krn_fail(KRN_ERROR_ALIGNMENT, "cache->%s is not aligned to %d bytes", name, (int)alignment);
    return KRN_OK;
}

static krn_status check_extras(const krn_cuda_kv_cache *cache) {
    const int centers = cache->desc->center_keys;
    krn_status status = check_extra("means", cache->means, centers, sizeof(float), "center_keys");
    if (status == KRN_OK)
        status = check_extra("mean_is_set", cache->mean_is_set, centers && cache->mean_is_set != NULL, sizeof(int32_t),
                             "center_keys");
    if (status == KRN_OK)
        status = check_extra("tails", cache->tails, cache->desc->key_granularity == KRN_KV_CHANNEL,
                             KRN_CUDA_TENSOR_ALIGNMENT, "KRN_KV_CHANNEL");
    return status;
}

krn_status krn_cuda_kv_view_of(const krn_cuda_kv_cache *cache, krn_cuda_kv_view *view) {
    if (cache == NULL)
        return krn_fail(KRN_ERROR_NULL_ARGUMENT, "cache is NULL");
    if (cache->struct_size != sizeof *cache)
        return krn_fail(KRN_ERROR_STRUCT_SIZE, "cache->struct_size is %u, this library knows %u", cache->struct_size,
                        (unsigned)sizeof *cache);
    if (cache->reserved != 0)
        return krn_fail(KRN_ERROR_INVALID_ARGUMENT, "cache->reserved is %d, must be 0", cache->reserved);
    int64_t needed = 0;
    krn_status status = krn_cuda_kv_cache_bytes(cache->desc, NULL, &needed);
    if (status == KRN_OK)
        status = check_static("key", cache->desc->key_type, cache->desc->key_granularity, cache->key_scales,
                              cache->key_zero_points);
    if (status == KRN_OK)
        status = check_static("value", cache->desc->value_type, cache->desc->value_granularity, cache->value_scales,
                              cache->value_zero_points);
    if (status == KRN_OK)
        status = check_extras(cache);
    if (status != KRN_OK)
        return status;
    if (cache->pool == NULL || cache->tables == NULL || cache->lengths == NULL)
        return krn_fail(KRN_ERROR_NULL_ARGUMENT, "cache->%s is NULL",
                        cache->pool == NULL     ? "pool"
                        : cache->tables == NULL ? "tables"
                                                : "lengths");
    if ((uintptr_t)cache->pool % KRN_CUDA_WORKSPACE_ALIGNMENT != 0)
        return krn_fail(KRN_ERROR_ALIGNMENT, "cache->pool is not aligned to %d bytes", KRN_CUDA_WORKSPACE_ALIGNMENT);
    if ((uintptr_t)cache->tables % sizeof(int32_t) != 0 || (uintptr_t)cache->lengths % sizeof(int32_t) != 0)
        return krn_fail(KRN_ERROR_ALIGNMENT, "cache->tables or lengths is not aligned to its elements of 4 bytes");
    if (cache->pool_bytes < needed)
        return krn_fail(KRN_ERROR_BUFFER_TOO_SMALL, "cache->pool_bytes is %lld, the pages take %lld",
                        (long long)cache->pool_bytes, (long long)needed);
    const krn_kv_cache_desc *desc = cache->desc;
    const krn_kv_layout layout = krn_kv_layout_of(desc);
    *view = (krn_cuda_kv_view){
        .pool = cache->pool,
        .tables = cache->tables,
        .lengths = cache->lengths,
        .page_bytes = layout.page_bytes,
        .head_bytes = layout.head_bytes,
        .sequences = desc->sequences,
        .pages = (int32_t)krn_kv_pages(desc, &layout),
        .table_pages = (int32_t)layout.table_pages,
        .page_tokens = (int32_t)desc->page_tokens,
        .kv_heads = desc->kv_heads,
        .head_dim = desc->head_dim,
        .max_tokens = (int32_t)desc->max_tokens,
        .keys = section_of(desc->key_type, desc->key_granularity, 0, layout.key_block_bytes, layout.key_scales_at,
                           layout.head_dim, cache->key_scales, cache->key_zero_points),
        .values = section_of(desc->value_type, desc->value_granularity, layout.value_codes_at, layout.value_block_bytes,
                             layout.value_scales_at, layout.value_dim, cache->value_scales, cache->value_zero_points),
        .tails = cache->tails,
        .means = cache->means,
        .mean_is_set = cache->mean_is_set,
    };
    view->keys.group = desc->key_group;
    view->keys.group_bytes = (int32_t)layout.key_group_bytes;
    return KRN_OK;
}

krn_status krn_cuda_kv_check_batch(const krn_cuda_kv_cache *cache, const krn_cuda_kv_batch *batch,
                                   int64_t *max_length) {
    enum { MAX_ENTRIES = 65535 };
    if (batch == NULL)
        return krn_fail(KRN_ERROR_NULL_ARGUMENT, "batch is NULL");
    if (batch->struct_size != sizeof *batch)
        return krn_fail(KRN_ERROR_STRUCT_SIZE, "batch->struct_size is %u, this library knows %u", batch->struct_size,
                        (unsigned)sizeof *batch);
    if (batch->count < 0 || batch->count > MAX_ENTRIES)
        return krn_fail(KRN_ERROR_INVALID_ARGUMENT, "batch->count is %d, not in 0..%d", batch->count, MAX_ENTRIES);
    if (batch->rows < 0 || batch->max_rows < 0 || batch->max_rows > batch->rows)
        return krn_fail(KRN_ERROR_SHAPE, "batch->rows is %d and max_rows %d, not 0 <= max_rows <= rows", batch->rows,
                        batch->max_rows);
    if (batch->count > 0 && batch->rows > (int64_t)batch->count * batch->max_rows)
        return krn_fail(KRN_ERROR_SHAPE, "batch->rows is %d, but %d entries of %d have fewer", batch->rows,
                        batch->count, batch->max_rows);
    if (batch->count > 0 && (batch->sequences == NULL || batch->starts == NULL))
        return krn_fail(KRN_ERROR_NULL_ARGUMENT, "batch->%s is NULL",
                        batch->sequences == NULL ? "sequences" : "starts");
    if ((uintptr_t)batch->sequences % sizeof(int32_t) != 0 || (uintptr_t)batch->starts % sizeof(int32_t) != 0)
        return krn_fail(KRN_ERROR_ALIGNMENT, "batch->sequences or starts is not aligned to its elements of 4 bytes");
    if (batch->max_length < 0 || batch->max_length > cache->desc->max_tokens)
        return krn_fail(KRN_ERROR_SHAPE, "batch->max_length is %lld, not in 0..%lld", (long long)batch->max_length,
                        (long long)cache->desc->max_tokens);
    *max_length = batch->max_length != 0 ? batch->max_length : cache->desc->max_tokens;
    return KRN_OK;
}
