/* The door of attention on devices. */
#include "kernels/cuda_attention.h"

#include "cuda/attention/attention_params.h"
#include "cuda/common/arguments.h"
#include "cuda/hadamard/rotation.h"
#include "cuda/kv_cache/kv_view.h"

#include <math.h>
#include <stdio.h>

_Static_assert(sizeof(krn_cuda_attention_params) <= 4096 && sizeof(krn_cuda_attention_queries_params) <= 4096,
               "parameters of a kernel have 4 KiB at most");

static krn_status check_options(const krn_cuda_kv_view *view, const krn_attention_options *options) {
    if (options == NULL)
        return krn_fail(KRN_ERROR_NULL_ARGUMENT, "options is NULL");
    if (options->struct_size != sizeof *options)
        return krn_fail(KRN_ERROR_STRUCT_SIZE, "options->struct_size is %u, this library knows %u",
                        options->struct_size, (unsigned)sizeof *options);
    if (options->heads < 1 || options->heads > 65536 || options->heads % view->kv_heads != 0)
        return krn_fail(KRN_ERROR_SHAPE,
                        "options->heads is %d, not a multiple of the cache's %d KV heads of at most 65536",
                        options->heads, view->kv_heads);
    if (!isfinite(options->scale))
        return krn_fail(KRN_ERROR_INVALID_ARGUMENT, "options->scale is not finite");
    if (!(options->softcap >= 0) || !isfinite(options->softcap))
        return krn_fail(KRN_ERROR_INVALID_ARGUMENT, "options->softcap is %g, must be finite and not negative",
                        (double)options->softcap);
    if (options->full != 0 && options->full != 1)
        return krn_fail(KRN_ERROR_INVALID_ARGUMENT, "options->full is %d, not 0 or 1", options->full);
    if (options->window < 0 || options->sink_tokens < 0)
        return krn_fail(KRN_ERROR_INVALID_ARGUMENT,
                        "options->window is %lld and sink_tokens %lld, must not be negative",
                        (long long)options->window, (long long)options->sink_tokens);
    if (options->reserved != 0)
        return krn_fail(KRN_ERROR_INVALID_ARGUMENT, "options->reserved is %d, must be 0", options->reserved);
    if ((uintptr_t)options->sink_logits % sizeof(float) != 0 || (uintptr_t)options->alibi_slopes % sizeof(float) != 0)
        return krn_fail(KRN_ERROR_ALIGNMENT, "options->sink_logits or alibi_slopes is not aligned to 4 bytes");
    return KRN_OK;
}

static krn_status check_tensor(const char *name, int32_t type, const void *data, int64_t ld, int64_t rows,
                               int64_t width) {
    if (!krn_is_float(type))
        return krn_fail(KRN_ERROR_INVALID_ARGUMENT, "%s->type is %d, not one of KRN_TYPE_F32, _F16 and _BF16", name,
                        type);
    if (ld < width || ld > INT64_MAX / 8 / (rows + 1))
        return krn_fail(KRN_ERROR_LEADING_DIMENSION, "%s->ld is %lld, heads * head_dim is %lld", name, (long long)ld,
                        (long long)width);
    if (rows > 0 && data == NULL)
        return krn_fail(KRN_ERROR_NULL_ARGUMENT, "%s->data is NULL", name);
    if ((uintptr_t)data % (type == KRN_TYPE_F32 ? 4 : 2) != 0)
        return krn_fail(KRN_ERROR_ALIGNMENT, "%s->data is not aligned to its elements", name);
    return KRN_OK;
}

static krn_status check_tensors(const krn_cuda_kv_view *view, const krn_attention_options *options, int64_t rows,
                                const krn_attention_query *query, const krn_attention_output *output) {
    if (query == NULL || output == NULL)
        return krn_fail(KRN_ERROR_NULL_ARGUMENT, "%s is NULL", query == NULL ? "query" : "output");
    if (query->struct_size != sizeof *query || output->struct_size != sizeof *output)
        return krn_fail(KRN_ERROR_STRUCT_SIZE,
                        "query->struct_size is %u and output->struct_size %u, this library knows "
                        "%u and %u",
                        query->struct_size, output->struct_size, (unsigned)sizeof *query, (unsigned)sizeof *output);
    const int64_t width = (int64_t)options->heads * view->head_dim;
    krn_status status = check_tensor("query", query->type, query->data, query->ld, rows, width);
    if (status == KRN_OK)
        status = check_tensor("output", output->type, output->data, output->ld, rows, width);
    if (status == KRN_OK && (uintptr_t)output->lse % sizeof(float) != 0)
        status = krn_fail(KRN_ERROR_ALIGNMENT, "output->lse is not aligned to 4 bytes");
    return status;
}

/* Types of codes as kernels are named by them: the kernels of u4 are those of s4. */
static const char *name_of(int32_t type) {
    switch (type) {
    case KRN_TYPE_S8: return "s8";
    case KRN_TYPE_S4:
    case KRN_TYPE_U4: return "s4";
    case KRN_TYPE_BF16: return "bf16";
    case KRN_TYPE_F8E4M3: return "f8";
    default: return "f32";
    }
}

static int is_integer(int32_t type) { return type == KRN_TYPE_S8 || type == KRN_TYPE_S4 || type == KRN_TYPE_U4; }

enum { KERNEL_NAME_BYTES = 64, MAX_HEAD_DIM = 256, MAX_F32_HEAD_DIM = 128 };

static krn_status name_kernel(const krn_cuda_kv_view *view, char name[KERNEL_NAME_BYTES]) {
    const int32_t key = view->keys.type, value = view->values.type;
    if (key != value && !(is_integer(key) && is_integer(value)))
        return krn_fail(KRN_ERROR_UNSUPPORTED, "keys are %s and values %s, a pair that devices do not have",
                        name_of(key), name_of(value));
    const int32_t most = key == KRN_TYPE_F32 ? MAX_F32_HEAD_DIM : MAX_HEAD_DIM;
    if (view->head_dim > most)
        return krn_fail(KRN_ERROR_UNSUPPORTED, "head_dim is %d, devices have at most %d with these types",
                        view->head_dim, most);
    snprintf(name, KERNEL_NAME_BYTES, "krn_cuda_attention_%s%s_%s_d%d", view->keys.group != 0 ? "channel_" : "",
             name_of(key), name_of(value), view->head_dim <= 128 ? 128 : 256);
    return KRN_OK;
}

static int32_t round_up(int32_t value, int32_t multiple) { return (value + multiple - 1) / multiple * multiple; }

/* Rows of queries. Those of codes lie 16 bytes apart modulo 128, in different banks; of bf16, where lanes read 8 bytes
 * at once, 32. */
static int32_t query_ld(const krn_cuda_kv_view *view) {
    const int32_t dim = view->head_dim, type = view->keys.type;
    if (type == KRN_TYPE_F32 || view->keys.group != 0)
        return 4 * dim + 16;
    if (is_integer(type))
        return round_up(dim, 128) + 16;
    return round_up(2 * dim, 128) + (type == KRN_TYPE_BF16 ? 16 : 32);
}

static int32_t weight_ld(const krn_cuda_kv_view *view) {
    switch (view->values.type) {
    case KRN_TYPE_F32: return 4 * KRN_CUDA_ATTENTION_SCORE_LD;
    case KRN_TYPE_BF16: return KRN_CUDA_ATTENTION_BF16_WEIGHT_LD;
    case KRN_TYPE_F8E4M3: return KRN_CUDA_ATTENTION_F8_WEIGHT_LD;
    default: return KRN_CUDA_ATTENTION_WEIGHT_LD;
    }
}

static krn_cuda_attention_space space_of(const krn_cuda_kv_view *view) {
    enum { ROWS = KRN_CUDA_ATTENTION_ROWS, BLOCK = KRN_CUDA_ATTENTION_BLOCK, SCALE_BYTES = 2 * BLOCK * (4 + 1) };
    const int32_t units = BLOCK / KRN_CUDA_KV_BLOCK;
    krn_cuda_attention_space s = {.query_ld = query_ld(view)};
    s.rows_at = ROWS * s.query_ld;
    s.scores_at = s.rows_at + ROWS * 4 * KRN_CUDA_ATTENTION_ROW_WORDS;
    s.weights_at = s.scores_at + ROWS * 4 * KRN_CUDA_ATTENTION_SCORE_LD;
    s.group_codes_at = s.weights_at + ROWS * weight_ld(view);
    s.stages_at = s.group_codes_at;
    if (view->keys.group != 0) {
        s.group_ld = round_up(view->head_dim, 128) + 16;
        s.group_words_at = s.group_codes_at + units * ROWS * s.group_ld;
        s.stages_at = s.group_words_at + units * ROWS * 8;
    }
    s.values_at = units * (int32_t)view->keys.block_bytes;
    /* Whole groups of 32 channels, within which chunks of 16 bytes change places. */
    s.value_row_bytes = 4 * round_up(view->values.stored_dim, 32);
    s.scales_at = s.values_at + BLOCK * view->values.bits / 32 * s.value_row_bytes;
    s.channels_at = s.scales_at + SCALE_BYTES;
    s.stage_bytes = s.channels_at + units * view->keys.group_bytes;
    s.stages = s.stages_at + 3 * s.stage_bytes <= 100 * 1024 ? 3 : 2;
    s.bytes = s.stages_at + s.stages * s.stage_bytes;
    return s;
}

/* Chunks of a sequence. */
static int64_t chunks_of(int64_t max_length) {
    return (max_length + KRN_CUDA_ATTENTION_CHUNK - 1) / KRN_CUDA_ATTENTION_CHUNK;
}

static int64_t round_up_64(int64_t bytes) { return (bytes + 255) / 256 * 256; }

/* The workspace, in bytes: m, l and acc of all states, then rotated queries and what is added to their scores. */
typedef struct workspace_plan {
    int64_t l, acc, queries, bias, bytes;
} workspace_plan;

static int has_prepared_queries(const krn_kv_cache_desc *desc) { return desc->rotate_keys || desc->center_keys; }

static krn_status plan_workspace(const krn_cuda_kv_view *view, const krn_kv_cache_desc *desc,
                                 const krn_attention_options *options, const krn_cuda_kv_batch *batch,
                                 int64_t max_length, workspace_plan *plan) {
    const int64_t rows = (int64_t)batch->rows * options->heads, states = chunks_of(max_length) * rows;
    if (states > INT64_C(1) << 40)
        return krn_fail(KRN_ERROR_UNSUPPORTED,
                        "batch->rows is %d with %d heads and %lld tokens, more than a launch takes", batch->rows,
                        options->heads, (long long)max_length);
    plan->l = round_up_64(4 * states);
    plan->acc = 2 * plan->l;
    plan->queries = plan->acc + round_up_64(4 * states * view->values.stored_dim);
    plan->bias = plan->queries + (has_prepared_queries(desc) ? round_up_64(4 * rows * view->head_dim) : 0);
    plan->bytes = plan->bias + (desc->center_keys ? round_up_64(4 * rows) : 0);
    return KRN_OK;
}

krn_status krn_cuda_attention_workspace_size(const krn_cuda_kv_cache *cache, const krn_attention_options *options,
                                             const krn_cuda_kv_batch *batch, int64_t *bytes) {
    krn_cuda_kv_view view;
    char name[KERNEL_NAME_BYTES];
    int64_t max_length = 0;
    workspace_plan plan = {0};
    krn_status status = krn_cuda_kv_view_of(cache, &view);
    if (status == KRN_OK)
        status = check_options(&view, options);
    if (status == KRN_OK)
        status = krn_cuda_kv_check_batch(cache, batch, &max_length);
    if (status == KRN_OK)
        status = name_kernel(&view, name);
    if (status == KRN_OK && bytes == NULL)
        status = krn_fail(KRN_ERROR_NULL_ARGUMENT, "bytes is NULL");
    if (status == KRN_OK)
        status = plan_workspace(&view, cache->desc, options, batch, max_length, &plan);
    if (status == KRN_OK)
        *bytes = plan.bytes;
    return status;
}

static int32_t clamp(int64_t tokens) { return tokens < INT32_MAX ? (int32_t)tokens : INT32_MAX; }

/* Queries as keys are, in the workspace, from where attention takes them. */
static krn_status prepare_queries(krn_cuda_context *context, const krn_kv_cache_desc *desc,
                                  const krn_cuda_kv_batch *batch, const workspace_plan *plan, unsigned char *workspace,
                                  krn_cuda_attention_params *attention, void *stream) {
    enum { ROWS = KRN_CUDA_ATTENTION_QUERY_ROWS };
    const krn_cuda_kv_view *view = &attention->cache;
    krn_cuda_attention_queries_params params = {
        .cache = *view,
        .batch = attention->batch,
        .query = attention->query,
        .query_ld_bytes = attention->query_ld_bytes,
        .query_type = attention->query_type,
        .heads = attention->heads,
        .group = attention->group,
        .scale = attention->scale,
        .rotated = (float *)(void *)(workspace + plan->queries),
        .bias = desc->center_keys ? (float *)(void *)(workspace + plan->bias) : NULL,
        .device_flags = attention->device_flags,
    };
    krn_status status = KRN_OK;
    if (desc->rotate_keys)
        status = krn_cuda_head_rotation_of(view->head_dim, 0, &params.rotation);
    if (status != KRN_OK)
        return status;
    attention->query = params.rotated;
    attention->query_ld_bytes = 4 * (int64_t)params.heads * view->head_dim;
    attention->query_type = KRN_TYPE_F32;
    attention->bias = params.bias;
    const int64_t blocks = ((int64_t)batch->max_rows * params.heads - 1) / ROWS + 1;
    const int64_t shared = (ROWS * (int64_t)view->head_dim + 31) / 32 * KRN_CUDA_ROTATION_ROW_BYTES;
    const uint32_t grid[3] = {(uint32_t)blocks, 1, (uint32_t)batch->count};
    return krn_cuda_run(context, "krn_cuda_attention_queries", grid, KRN_CUDA_ATTENTION_THREADS, (uint32_t)shared,
                        &params, sizeof params, stream);
}

krn_status krn_cuda_attention(krn_cuda_context *context, const krn_cuda_kv_cache *cache,
                              const krn_attention_options *options, const krn_cuda_kv_batch *batch,
                              const krn_attention_query *query, const krn_attention_output *output, void *workspace,
                              int64_t workspace_bytes, int32_t *device_flags, void *stream) {
    if (context == NULL)
        return krn_fail(KRN_ERROR_NULL_ARGUMENT, "context is NULL");
    krn_cuda_attention_params params = {.device_flags = device_flags};
    krn_cuda_kv_view *const view = &params.cache;
    char name[KERNEL_NAME_BYTES];
    int64_t max_length = 0;
    workspace_plan plan = {0};
    krn_status status = krn_cuda_kv_view_of(cache, view);
    if (status == KRN_OK)
        status = check_options(view, options);
    if (status == KRN_OK)
        status = krn_cuda_kv_check_batch(cache, batch, &max_length);
    if (status == KRN_OK)
        status = check_tensors(view, options, batch->rows, query, output);
    if (status == KRN_OK)
        status = krn_cuda_check_flags(device_flags);
    if (status == KRN_OK)
        status = name_kernel(view, name);
    if (status == KRN_OK)
        status = plan_workspace(view, cache->desc, options, batch, max_length, &plan);
    if (status == KRN_OK)
        status = krn_cuda_check_workspace(workspace, workspace_bytes, plan.bytes);
    if (status != KRN_OK || batch->count == 0 || batch->rows == 0)
        return status;
    params.space = space_of(view);
    if (params.space.bytes > context->properties.shared_bytes_per_block)
        return krn_fail(KRN_ERROR_UNSUPPORTED, "head_dim is %d, which takes %d bytes of shared memory; %s has %d",
                        view->head_dim, params.space.bytes, context->properties.name,
                        context->properties.shared_bytes_per_block);
    params.batch = (krn_cuda_kv_entries){batch->sequences, batch->starts};
    params.query = query->data;
    params.output = output->data;
    params.lse = output->lse;
    params.query_ld_bytes = query->ld * (query->type == KRN_TYPE_F32 ? 4 : 2);
    params.output_ld_bytes = output->ld * (output->type == KRN_TYPE_F32 ? 4 : 2);
    params.query_type = query->type;
    params.output_type = output->type;
    params.heads = options->heads;
    params.group = options->heads / view->kv_heads;
    params.full = options->full;
    params.window = clamp(options->window);
    params.sink_tokens = clamp(options->sink_tokens);
    params.scale = options->scale != 0 ? options->scale : (float)(1 / sqrt(view->head_dim));
    params.softcap = options->softcap;
    params.sink_logits = options->sink_logits;
    params.slopes = options->alibi_slopes;
    params.states = (int64_t)batch->rows * options->heads;
    params.m = workspace;
    params.l = (float *)(void *)((unsigned char *)workspace + plan.l);
    params.acc = (float *)(void *)((unsigned char *)workspace + plan.acc);
    const int64_t tiles = ((int64_t)batch->max_rows * params.group - 1) / KRN_CUDA_ATTENTION_ROWS + 1;
    const int64_t finish = ((int64_t)batch->max_rows * params.heads - 1) / (KRN_CUDA_ATTENTION_THREADS / 32) + 1;
    if (tiles * view->kv_heads > 65535 || finish > INT32_MAX)
        return krn_fail(KRN_ERROR_UNSUPPORTED, "batch->max_rows is %d, more than a launch takes with %d heads",
                        batch->max_rows, options->heads);
    const uint32_t grid[3] = {(uint32_t)chunks_of(max_length), (uint32_t)(tiles * view->kv_heads),
                              (uint32_t)batch->count};
    if (has_prepared_queries(cache->desc))
        status = prepare_queries(context, cache->desc, batch, &plan, workspace, &params, stream);
    if (status == KRN_OK)
        status = krn_cuda_run(context, name, grid, KRN_CUDA_ATTENTION_THREADS, (uint32_t)params.space.bytes, &params,
                              sizeof params, stream);
    if (status != KRN_OK)
        return status;
    const uint32_t finish_grid[3] = {(uint32_t)finish, 1, (uint32_t)batch->count};
    return krn_cuda_run(context, "krn_cuda_attention_finish", finish_grid, KRN_CUDA_ATTENTION_THREADS, 0, &params,
                        sizeof params, stream);
}
