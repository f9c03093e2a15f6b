/* The door of attention on devices. */
#include "kernels/cuda_attention.h"

#include "cuda/attention/attention_params.h"
#include "cuda/common/arguments.h"
#include "cuda/kv_cache/kv_view.h"

#include <math.h>
#include <stdio.h>

_Static_assert(sizeof(krn_cuda_attention_params) <= 4096, "parameters of a kernel have 4 KiB at most");

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
    snprintf(name, KERNEL_NAME_BYTES, "krn_cuda_attention_%s_%s_d%d", name_of(key), name_of(value),
             view->head_dim <= 128 ? 128 : 256);
    return KRN_OK;
}

static int32_t round_up(int32_t value, int32_t multiple) { return (value + multiple - 1) / multiple * multiple; }

static krn_cuda_attention_space space_of(const krn_cuda_kv_view *view) {
    enum { ROWS = KRN_CUDA_ATTENTION_ROWS, BLOCK = KRN_CUDA_ATTENTION_BLOCK, SCALE_BYTES = 2 * BLOCK * (4 + 1) };
    const int32_t units = BLOCK / KRN_CUDA_KV_BLOCK, dim = view->head_dim;
    krn_cuda_attention_space s = {0};
    /* Rows of codes 16 bytes apart modulo 128 lie in different banks. */
    s.query_ld = is_integer(view->keys.type) ? round_up(dim, 128) + 16 : 4 * dim + 16;
    s.rows_at = ROWS * s.query_ld;
    s.scores_at = s.rows_at + ROWS * 4 * KRN_CUDA_ATTENTION_ROW_WORDS;
    s.weights_at = s.scores_at + ROWS * 4 * KRN_CUDA_ATTENTION_SCORE_LD;
    s.stages_at = s.weights_at + ROWS * (is_integer(view->values.type) ? KRN_CUDA_ATTENTION_WEIGHT_LD
                                                                       : 4 * KRN_CUDA_ATTENTION_SCORE_LD);
    s.values_at = units * (int32_t)view->keys.block_bytes;
    /* Whole groups of 32 channels, within which chunks of 16 bytes change places. */
    s.value_row_bytes = 4 * round_up(view->values.stored_dim, 32);
    s.scales_at = s.values_at + BLOCK * view->values.bits / 32 * s.value_row_bytes;
    s.stage_bytes = s.scales_at + SCALE_BYTES;
    s.stages = s.stages_at + 3 * s.stage_bytes <= 100 * 1024 ? 3 : 2;
    s.bytes = s.stages_at + s.stages * s.stage_bytes;
    return s;
}

/* Chunks of a sequence. */
static int64_t chunks_of(int64_t max_length) {
    return (max_length + KRN_CUDA_ATTENTION_CHUNK - 1) / KRN_CUDA_ATTENTION_CHUNK;
}

static int64_t round_up_64(int64_t bytes) { return (bytes + 255) / 256 * 256; }

/* States, and from where on m, l and acc lie; *bytes is the sum. */
static krn_status place_states(const krn_cuda_kv_view *view, const krn_attention_options *options,
                               const krn_cuda_kv_batch *batch, int64_t max_length, int64_t at[2], int64_t *bytes) {
    const int64_t states = chunks_of(max_length) * batch->rows * options->heads;
    if (states > INT64_C(1) << 40)
        return krn_fail(KRN_ERROR_UNSUPPORTED,
                        "batch->rows is %d with %d heads and %lld tokens, more than a launch takes", batch->rows,
                        options->heads, (long long)max_length);
    at[0] = round_up_64(4 * states);
    at[1] = 2 * at[0];
    *bytes = at[1] + round_up_64(4 * states * view->values.stored_dim);
    return KRN_OK;
}

krn_status krn_cuda_attention_workspace_size(const krn_cuda_kv_cache *cache, const krn_attention_options *options,
                                             const krn_cuda_kv_batch *batch, int64_t *bytes) {
    krn_cuda_kv_view view;
    char name[KERNEL_NAME_BYTES];
    int64_t max_length = 0, at[2] = {0};
    krn_status status = krn_cuda_kv_view_of(cache, &view);
    if (status == KRN_OK)
        status = check_options(&view, options);
    if (status == KRN_OK)
        status = krn_cuda_kv_check_batch(cache, batch, &max_length);
    if (status == KRN_OK)
        status = name_kernel(&view, name);
    if (status == KRN_OK && bytes == NULL)
        status = krn_fail(KRN_ERROR_NULL_ARGUMENT, "bytes is NULL");
    return status != KRN_OK ? status : place_states(&view, options, batch, max_length, at, bytes);
}

static int32_t clamp(int64_t tokens) { return tokens < INT32_MAX ? (int32_t)tokens : INT32_MAX; }

krn_status krn_cuda_attention(krn_cuda_context *context, const krn_cuda_kv_cache *cache,
                              const krn_attention_options *options, const krn_cuda_kv_batch *batch,
                              const krn_attention_query *query, const krn_attention_output *output, void *workspace,
                              int64_t workspace_bytes, int32_t *device_flags, void *stream) {
    if (context == NULL)
        return krn_fail(KRN_ERROR_NULL_ARGUMENT, "context is NULL");
    krn_cuda_attention_params params = {.device_flags = device_flags};
    krn_cuda_kv_view *const view = &params.cache;
    char name[KERNEL_NAME_BYTES];
    int64_t max_length = 0, at[2] = {0}, needed = 0;
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
        status = place_states(view, options, batch, max_length, at, &needed);
    if (status == KRN_OK)
        status = krn_cuda_check_workspace(workspace, workspace_bytes, needed);
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
    params.l = (float *)(void *)((unsigned char *)workspace + at[0]);
    params.acc = (float *)(void *)((unsigned char *)workspace + at[1]);
    const int64_t tiles = ((int64_t)batch->max_rows * params.group - 1) / KRN_CUDA_ATTENTION_ROWS + 1;
    const int64_t finish = ((int64_t)batch->max_rows * params.heads - 1) / (KRN_CUDA_ATTENTION_THREADS / 32) + 1;
    if (tiles * view->kv_heads > 65535 || finish > INT32_MAX)
        return krn_fail(KRN_ERROR_UNSUPPORTED, "batch->max_rows is %d, more than a launch takes with %d heads",
                        batch->max_rows, options->heads);
    const uint32_t grid[3] = {(uint32_t)chunks_of(max_length), (uint32_t)(tiles * view->kv_heads),
                              (uint32_t)batch->count};
    status = krn_cuda_run(context, name, grid, KRN_CUDA_ATTENTION_THREADS, (uint32_t)params.space.bytes, &params,
                          sizeof params, stream);
    if (status != KRN_OK)
        return status;
    const uint32_t finish_grid[3] = {(uint32_t)finish, 1, (uint32_t)batch->count};
    return krn_cuda_run(context, "krn_cuda_attention_finish", finish_grid, KRN_CUDA_ATTENTION_THREADS, 0, &params,
                        sizeof params, stream);
}
