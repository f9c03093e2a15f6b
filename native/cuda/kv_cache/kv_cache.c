/* The door of the KV cache on devices. */
#include "kernels/cuda_kv_cache.h"

#include "cuda/common/arguments.h"
#include "cuda/kv_cache/kv_view.h"
#include "cuda/quantize/quantize_codes.h"
#include "kv_cache/kv_layout.h"
#include "kv_cache/kv_memory.h"

_Static_assert(sizeof(krn_cuda_kv_append_params) <= 4096, "parameters of a kernel have 4 KiB at most");

static krn_status check_desc(const krn_kv_cache_desc *desc) {
    const krn_status status = krn_kv_check_desc(desc, 0);
    if (status != KRN_OK)
        return status;
    if (desc->key_granularity == KRN_KV_CHANNEL)
        return krn_fail(KRN_ERROR_UNSUPPORTED, "desc->key_granularity is KRN_KV_CHANNEL, which devices do not have");
    if (desc->rotate_keys || desc->center_keys)
        return krn_fail(KRN_ERROR_UNSUPPORTED, "desc->%s_keys is 1, which devices do not have",
                        desc->rotate_keys ? "rotate" : "center");
    return KRN_OK;
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

static krn_cuda_kv_section section_of(int32_t type, int64_t codes_at, int64_t block_bytes, int64_t scales_at,
                                      int32_t stored_dim, const float *static_scales,
                                      const int32_t *static_zero_points) {
    return (krn_cuda_kv_section){.type = type,
                                 .static_scales = static_scales,
                                 .static_zero_points = static_zero_points,
                                 .bits = krn_kv_bits(type),
                                 .codes_at = codes_at,
                                 .block_bytes = block_bytes,
                                 .scales_at = scales_at,
                                 .has_scales = krn_kv_bits(type) <= 8 && static_scales == NULL,
                                 .has_zero_points = type == KRN_TYPE_U4 && static_scales == NULL,
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
        .keys = section_of(desc->key_type, 0, layout.key_block_bytes, layout.key_scales_at, layout.head_dim,
                           cache->key_scales, cache->key_zero_points),
        .values = section_of(desc->value_type, layout.value_codes_at, layout.value_block_bytes, layout.value_scales_at,
                             layout.value_dim, cache->value_scales, cache->value_zero_points),
    };
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

/* What options of quantize.h a type of codes stands for, by token. */
static krn_cuda_codes codes_of(int32_t type, int32_t head_dim) {
    const krn_quantize_options options = {
        .struct_size = sizeof options,
        .type = krn_kv_bits(type) > 8 || type == KRN_TYPE_F8E4M3 ? KRN_TYPE_S8 : type,
        .granularity = KRN_GRANULARITY_TOKEN,
        .asymmetric = type == KRN_TYPE_U4,
    };
    krn_cuda_codes codes = krn_cuda_codes_of(&options, head_dim, NULL, 0, NULL, NULL, NULL);
    /* The largest FP8: what max|x| is divided by. */
    if (type == KRN_TYPE_F8E4M3)
        codes.scheme.steps = 448;
    return codes;
}

static krn_status check_side(const char *object, const char *name, const void *memory, int64_t ld, int64_t rows,
                             int64_t width, int64_t element_bytes) {
    if (ld < width || ld > INT64_MAX / 8 / (rows + 1))
        return krn_fail(KRN_ERROR_LEADING_DIMENSION, "%s->%s_ld is %lld, a token takes %lld", object, name,
                        (long long)ld, (long long)width);
    if ((uintptr_t)memory % (uintptr_t)element_bytes != 0)
        return krn_fail(KRN_ERROR_ALIGNMENT, "%s->%ss is not aligned to its elements of %lld bytes", object, name,
                        (long long)element_bytes);
    return KRN_OK;
}

/* What tokens that are read and tokens that are written have in common. */
typedef struct tokens_view {
    const char *name;
    uint32_t struct_size, known_size;
    int32_t type;
    const void *memory[2];
    int64_t ld[2];
} tokens_view;

static krn_status check_tokens(const krn_cuda_kv_view *view, int64_t rows, const tokens_view *tokens) {
    if (tokens->struct_size != tokens->known_size)
        return krn_fail(KRN_ERROR_STRUCT_SIZE, "%s->struct_size is %u, this library knows %u", tokens->name,
                        tokens->struct_size, tokens->known_size);
    if (!krn_is_float(tokens->type))
        return krn_fail(KRN_ERROR_INVALID_ARGUMENT, "%s->type is %d, not one of KRN_TYPE_F32, _F16 and _BF16",
                        tokens->name, tokens->type);
    const int64_t width = (int64_t)view->kv_heads * view->head_dim, bytes = tokens->type == KRN_TYPE_F32 ? 4 : 2;
    const krn_status status = check_side(tokens->name, "key", tokens->memory[0], tokens->ld[0], rows, width, bytes);
    return status != KRN_OK ? status
                            : check_side(tokens->name, "value", tokens->memory[1], tokens->ld[1], rows, width, bytes);
}

/* A launch with a warp for each block of 16 tokens of a head; tokens that are not at a multiple of 16 touch one more. */
static krn_status run(krn_cuda_context *context, const char *op, int32_t type, const krn_cuda_kv_view *view,
                      const krn_cuda_kv_batch *batch, uint32_t shared_bytes, const void *params, uint32_t params_bytes,
                      void *stream) {
    const int64_t warps = (int64_t)((batch->max_rows - 1) / KRN_CUDA_KV_BLOCK + 2) * view->kv_heads;
    const int64_t blocks = (warps + KRN_CUDA_KV_APPEND_WARPS - 1) / KRN_CUDA_KV_APPEND_WARPS;
    if (warps > INT32_MAX)
        return krn_fail(KRN_ERROR_UNSUPPORTED, "batch->max_rows is %d, more than a launch takes", batch->max_rows);
    char name[KRN_CUDA_NAME_BYTES];
    const uint32_t grid[3] = {(uint32_t)blocks, 2, (uint32_t)batch->count};
    krn_cuda_kernel_name(name, op, type);
    return krn_cuda_run(context, name, grid, 32 * KRN_CUDA_KV_APPEND_WARPS, shared_bytes, params, params_bytes, stream);
}

krn_status krn_cuda_kv_append(krn_cuda_context *context, const krn_cuda_kv_cache *cache, const krn_cuda_kv_batch *batch,
                              const krn_cuda_kv_tokens *tokens, int32_t *device_flags, void *stream) {
    if (context == NULL || tokens == NULL)
        return krn_fail(KRN_ERROR_NULL_ARGUMENT, "%s is NULL", context == NULL ? "context" : "tokens");
    const tokens_view source = {.name = "tokens",
                                .struct_size = tokens->struct_size,
                                .known_size = sizeof *tokens,
                                .type = tokens->type,
                                .memory = {tokens->keys, tokens->values},
                                .ld = {tokens->key_ld, tokens->value_ld}};
    krn_cuda_kv_append_params params = {.device_flags = device_flags};
    int64_t max_length = 0;
    krn_status status = krn_cuda_kv_view_of(cache, &params.cache);
    if (status == KRN_OK)
        status = krn_cuda_kv_check_batch(cache, batch, &max_length);
    if (status == KRN_OK)
        status = check_tokens(&params.cache, batch->rows, &source);
    if (status == KRN_OK)
        status = krn_cuda_check_flags(device_flags);
    if (status != KRN_OK || batch->count == 0 || batch->rows == 0)
        return status;
    params.batch = (krn_cuda_kv_entries){batch->sequences, batch->starts};
    params.codes[0] = codes_of(cache->desc->key_type, params.cache.head_dim);
    params.codes[1] = codes_of(cache->desc->value_type, params.cache.head_dim);
    for (int side = 0; side < 2; side++) {
        if (source.memory[side] == NULL)
            return krn_fail(KRN_ERROR_NULL_ARGUMENT, "tokens->%s is NULL", side == 0 ? "keys" : "values");
        params.source[side] = source.memory[side];
        params.ld_bytes[side] = source.ld[side] * (tokens->type == KRN_TYPE_F32 ? 4 : 2);
        params.is_aligned[side] = ((uintptr_t)params.source[side] | (uintptr_t)params.ld_bytes[side]) % 16 == 0;
    }
    return run(context, "kv_append", tokens->type, &params.cache, batch, KRN_CUDA_KV_APPEND_SHARED, &params,
               sizeof params, stream);
}

krn_status krn_cuda_kv_read(krn_cuda_context *context, const krn_cuda_kv_cache *cache, const krn_cuda_kv_batch *batch,
                            const krn_cuda_kv_target *target, int32_t *device_flags, void *stream) {
    if (context == NULL || target == NULL)
        return krn_fail(KRN_ERROR_NULL_ARGUMENT, "%s is NULL", context == NULL ? "context" : "target");
    const tokens_view rows = {.name = "target",
                              .struct_size = target->struct_size,
                              .known_size = sizeof *target,
                              .type = target->type,
                              .memory = {target->keys, target->values},
                              .ld = {target->key_ld, target->value_ld}};
    krn_cuda_kv_read_params params = {.target = {target->keys, target->values}, .device_flags = device_flags};
    int64_t max_length = 0;
    krn_status status = krn_cuda_kv_view_of(cache, &params.cache);
    if (status == KRN_OK)
        status = krn_cuda_kv_check_batch(cache, batch, &max_length);
    if (status == KRN_OK)
        status = check_tokens(&params.cache, batch->rows, &rows);
    if (status == KRN_OK)
        status = krn_cuda_check_flags(device_flags);
    if (status != KRN_OK || batch->count == 0 || batch->rows == 0)
        return status;
    params.batch = (krn_cuda_kv_entries){batch->sequences, batch->starts};
    for (int side = 0; side < 2; side++)
        params.ld_bytes[side] = rows.ld[side] * (target->type == KRN_TYPE_F32 ? 4 : 2);
    return run(context, "kv_read", target->type, &params.cache, batch, 0, &params, sizeof params, stream);
}
