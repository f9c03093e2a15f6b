/* The doors of append and read on devices. */
#include "cuda/common/arguments.h"
#include "cuda/hadamard/rotation.h"
#include "cuda/kv_cache/kv_view.h"
#include "cuda/quantize/quantize_codes.h"
#include "kv_cache/kv_layout.h"
#include "rope/rope_rows.h"

_Static_assert(sizeof(krn_cuda_kv_append_params) <= 4096 && sizeof(krn_cuda_kv_keys_params) <= 4096,
               "parameters of a kernel have 4 KiB at most");

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

/* Blocks of `tokens` tokens that the rows of an entry touch, of all heads: where they do not begin at a multiple, one
 * more. */
static int64_t count_blocks(const krn_cuda_kv_view *view, const krn_cuda_kv_batch *batch, int32_t tokens) {
    return (int64_t)((batch->max_rows - 1) / tokens + 2) * view->kv_heads;
}

static krn_status check_launch(const krn_cuda_kv_view *view, const krn_cuda_kv_batch *batch) {
    if (count_blocks(view, batch, KRN_CUDA_KV_BLOCK) > INT32_MAX)
        return krn_fail(KRN_ERROR_UNSUPPORTED, "batch->max_rows is %d, more than a launch takes", batch->max_rows);
    return KRN_OK;
}

/* A launch with a warp for each block of 16 tokens of a head, for keys and values or values alone. */
static krn_status run(krn_cuda_context *context, const char *op, int32_t type, const krn_cuda_kv_view *view,
                      const krn_cuda_kv_batch *batch, int32_t first_side, uint32_t shared_bytes, const void *params,
                      uint32_t params_bytes, void *stream) {
    const int64_t warps = count_blocks(view, batch, KRN_CUDA_KV_BLOCK);
    const int64_t blocks = (warps + KRN_CUDA_KV_APPEND_WARPS - 1) / KRN_CUDA_KV_APPEND_WARPS;
    char name[KRN_CUDA_NAME_BYTES];
    const uint32_t grid[3] = {(uint32_t)blocks, (uint32_t)(2 - first_side), (uint32_t)batch->count};
    krn_cuda_kernel_name(name, op, type);
    return krn_cuda_run(context, name, grid, 32 * KRN_CUDA_KV_APPEND_WARPS, shared_bytes, params, params_bytes, stream);
}

/* A launch with a thread block for each block of `tokens` tokens of a head. */
static krn_status run_keys(krn_cuda_context *context, const char *op, int32_t type, const krn_cuda_kv_batch *batch,
                           int32_t tokens, const krn_cuda_kv_keys_params *params, void *stream) {
    enum { LEAST_THREADS = 128 };
    const int64_t tile = (int64_t)KRN_CUDA_KV_BLOCK * params->cache.head_dim;
    const int64_t rows = (tile + KRN_CUDA_ROTATION_ELEMS - 1) / KRN_CUDA_ROTATION_ELEMS;
    const int64_t threads = rows < LEAST_THREADS ? LEAST_THREADS : (rows + 31) / 32 * 32;
    const int64_t shared = 16 * KRN_CUDA_KV_MAX_HEAD_DIM + rows * KRN_CUDA_ROTATION_ROW_BYTES;
    char name[KRN_CUDA_NAME_BYTES];
    const uint32_t grid[3] = {(uint32_t)count_blocks(&params->cache, batch, tokens), 1, (uint32_t)batch->count};
    krn_cuda_kernel_name(name, op, type);
    return krn_cuda_run(context, name, grid, (uint32_t)threads, (uint32_t)shared, params, sizeof *params, stream);
}

static krn_status run_means(krn_cuda_context *context, int32_t type, const krn_cuda_kv_batch *batch,
                            const krn_cuda_kv_keys_params *params, void *stream) {
    const int64_t channels = (int64_t)params->cache.kv_heads * params->cache.head_dim;
    const int64_t blocks = (channels + KRN_CUDA_KV_MEAN_THREADS - 1) / KRN_CUDA_KV_MEAN_THREADS;
    char name[KRN_CUDA_NAME_BYTES];
    const uint32_t grid[3] = {(uint32_t)blocks, 1, (uint32_t)batch->count};
    krn_cuda_kernel_name(name, "kv_means", type);
    return krn_cuda_run(context, name, grid, KRN_CUDA_KV_MEAN_THREADS, 0, params, sizeof *params, stream);
}

static krn_status check_rope(const krn_cuda_kv_view *view, const krn_cuda_kv_tokens *tokens, int64_t rows,
                             krn_cuda_kv_rope *rope) {
    const int64_t first = tokens->first_position, positions = tokens->position_count;
    if (tokens->rope == NULL)
        return KRN_OK;
    const krn_status status = krn_rope_check_options(tokens->rope);
    if (status != KRN_OK)
        return status;
    if (tokens->rope->head_dim != view->head_dim)
        return krn_fail(KRN_ERROR_SHAPE, "tokens->rope->head_dim is %lld, but the cache's is %d",
                        (long long)tokens->rope->head_dim, view->head_dim);
    if (first < 0 || positions < 0 || first > KRN_ROPE_MAX_POSITIONS - positions)
        return krn_fail(KRN_ERROR_INVALID_ARGUMENT,
                        "tokens->first_position is %lld and position_count %lld, not in 0..%d", (long long)first,
                        (long long)positions, KRN_ROPE_MAX_POSITIONS);
    if (rows > 0 && tokens->cos_sin == NULL)
        return krn_fail(KRN_ERROR_NULL_ARGUMENT, "tokens->cos_sin is NULL");
    if ((uintptr_t)tokens->cos_sin % sizeof(float) != 0 || (uintptr_t)tokens->positions % sizeof(int32_t) != 0)
        return krn_fail(KRN_ERROR_ALIGNMENT, "tokens->cos_sin or positions is not aligned to its elements of 4 bytes");
    *rope = (krn_cuda_kv_rope){.cos_sin = tokens->cos_sin,
                               .positions = tokens->positions,
                               .is_half = tokens->rope->layout == KRN_ROPE_HALF,
                               .rotary_dim = (int32_t)krn_rope_rotary_dim(tokens->rope),
                               .first_position = (int32_t)first,
                               .position_count = (int32_t)positions};
    return KRN_OK;
}

/* Whether keys are not stored, or do not come back, as they are. */
static int is_changed(const krn_kv_cache_desc *desc) {
    return desc->rotate_keys || desc->center_keys || desc->key_granularity == KRN_KV_CHANNEL;
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
    krn_cuda_kv_keys_params keys = {.device_flags = device_flags};
    int64_t max_length = 0;
    krn_status status = krn_cuda_kv_view_of(cache, &params.cache);
    if (status == KRN_OK)
        status = krn_cuda_kv_check_batch(cache, batch, &max_length);
    if (status == KRN_OK)
        status = check_tokens(&params.cache, batch->rows, &source);
    if (status == KRN_OK)
        status = check_rope(&params.cache, tokens, batch->rows, &keys.rope);
    if (status == KRN_OK)
        status = krn_cuda_check_flags(device_flags);
    if (status != KRN_OK || batch->count == 0 || batch->rows == 0)
        return status;
    status = check_launch(&params.cache, batch);
    if (status == KRN_OK && cache->desc->rotate_keys)
        status = krn_cuda_head_rotation_of(cache->desc->head_dim, 0, &keys.rotation);
    if (status != KRN_OK)
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
    if (is_changed(cache->desc) || tokens->rope != NULL) {
        const int by_channel = cache->desc->key_granularity == KRN_KV_CHANNEL;
        params.first_side = 1;
        keys.cache = params.cache;
        keys.batch = params.batch;
        keys.source = params.source[0];
        keys.ld_bytes = params.ld_bytes[0];
        keys.codes = params.codes[0];
        if (cache->desc->center_keys)
            status = run_means(context, tokens->type, batch, &keys, stream);
        if (status == KRN_OK)
            status = run_keys(context, by_channel ? "kv_append_groups" : "kv_append_keys", tokens->type, batch,
                              by_channel ? cache->desc->key_group : KRN_CUDA_KV_BLOCK, &keys, stream);
    }
    return status != KRN_OK ? status
                            : run(context, "kv_append", tokens->type, &params.cache, batch, params.first_side,
                                  KRN_CUDA_KV_APPEND_SHARED, &params, sizeof params, stream);
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
    status = check_launch(&params.cache, batch);
    params.batch = (krn_cuda_kv_entries){batch->sequences, batch->starts};
    for (int side = 0; side < 2; side++)
        params.ld_bytes[side] = rows.ld[side] * (target->type == KRN_TYPE_F32 ? 4 : 2);
    params.first_side = is_changed(cache->desc);
    if (status == KRN_OK && params.first_side != 0 && target->keys != NULL) {
        krn_cuda_kv_keys_params keys = {.cache = params.cache,
                                        .batch = params.batch,
                                        .target = target->keys,
                                        .ld_bytes = params.ld_bytes[0],
                                        .device_flags = device_flags};
        if (cache->desc->rotate_keys)
            status = krn_cuda_head_rotation_of(cache->desc->head_dim, 1, &keys.rotation);
        if (status == KRN_OK)
            status = run_keys(context, "kv_read_keys", target->type, batch, KRN_CUDA_KV_BLOCK, &keys, stream);
    }
    return status != KRN_OK ? status
                            : run(context, "kv_read", target->type, &params.cache, batch, params.first_side, 0, &params,
                                  sizeof params, stream);
}
