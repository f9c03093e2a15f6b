/* The checks of kernels/attention.h. */
#include "attention/attention_call.h"
#include "common/status.h"

#include <math.h>
#include <stddef.h>
#include <stdio.h>

enum { MAX_HEADS = 65536, MAX_COUNT = 1 << 20 };
#define MAX_TOKENS (INT64_C(1) << 30)

static krn_status check_head_values(const char *name, const float *values, int32_t heads, int may_be_lowest) {
    for (int32_t head = 0; values != NULL && head < heads; head++)
        if (!isfinite(values[head]) && !(may_be_lowest && values[head] == -INFINITY))
            return krn_fail(KRN_ERROR_INVALID_ARGUMENT, "options->%s[%d] is not finite", name, head);
    return KRN_OK;
}

krn_status krn_attention_check_options(const krn_kv_cache *cache, const krn_attention_options *options) {
    if (options == NULL)
        return krn_fail(KRN_ERROR_NULL_ARGUMENT, "options is NULL");
    if (options->struct_size != sizeof *options)
        return krn_fail(KRN_ERROR_STRUCT_SIZE, "options->struct_size is %u, this library knows %u",
                        options->struct_size, (unsigned)sizeof *options);
    if (options->heads < 1 || options->heads > MAX_HEADS)
        return krn_fail(KRN_ERROR_INVALID_ARGUMENT, "options->heads is %d, not in 1..%d", options->heads, MAX_HEADS);
    if (options->heads % cache->desc.kv_heads != 0)
        return krn_fail(KRN_ERROR_SHAPE, "options->heads is %d, not a multiple of the cache's %d KV heads",
                        options->heads, cache->desc.kv_heads);
    if (!isfinite(options->scale))
        return krn_fail(KRN_ERROR_INVALID_ARGUMENT, "options->scale is not finite");
    if (options->full != 0 && options->full != 1)
        return krn_fail(KRN_ERROR_INVALID_ARGUMENT, "options->full is %d, not 0 or 1", options->full);
    if (options->window < 0)
        return krn_fail(KRN_ERROR_INVALID_ARGUMENT, "options->window is %lld, must not be negative",
                        (long long)options->window);
    if (options->sink_tokens < 0)
        return krn_fail(KRN_ERROR_INVALID_ARGUMENT, "options->sink_tokens is %lld, must not be negative",
                        (long long)options->sink_tokens);
    if (!(options->softcap >= 0 && isfinite(options->softcap)))
        return krn_fail(KRN_ERROR_INVALID_ARGUMENT, "options->softcap is %g, must be finite and not negative",
                        (double)options->softcap);
    if (options->reserved != 0)
        return krn_fail(KRN_ERROR_INVALID_ARGUMENT, "options->reserved is %d, must be 0", options->reserved);
    const krn_status status = check_head_values("sink_logits", options->sink_logits, options->heads, 1);
    return status != KRN_OK ? status : check_head_values("alibi_slopes", options->alibi_slopes, options->heads, 0);
}

krn_status krn_attention_check_batch(const krn_kv_cache *cache, const krn_attention_batch *batch) {
    if (batch == NULL)
        return krn_fail(KRN_ERROR_NULL_ARGUMENT, "batch is NULL");
    if (batch->struct_size != sizeof *batch)
        return krn_fail(KRN_ERROR_STRUCT_SIZE, "batch->struct_size is %u, this library knows %u", batch->struct_size,
                        (unsigned)sizeof *batch);
    if (batch->count < 0 || batch->count > MAX_COUNT)
        return krn_fail(KRN_ERROR_INVALID_ARGUMENT, "batch->count is %d, not in 0..2^20", batch->count);
    if (batch->count > 0 && batch->sequences == NULL)
        return krn_fail(KRN_ERROR_NULL_ARGUMENT, "batch->sequences is NULL");
    if (batch->count > 0 && batch->query_tokens == NULL)
        return krn_fail(KRN_ERROR_NULL_ARGUMENT, "batch->query_tokens is NULL");
    int64_t tokens = 0;
    for (int32_t i = 0; i < batch->count; i++) {
        if (batch->sequences[i] < 0 || batch->sequences[i] >= cache->desc.sequences)
            return krn_fail(KRN_ERROR_INVALID_ARGUMENT, "batch->sequences[%d] is %d, not in 0..%d", i,
                            batch->sequences[i], cache->desc.sequences - 1);
        const int64_t length = cache->lengths[batch->sequences[i]];
        if (batch->query_tokens[i] < 0)
            return krn_fail(KRN_ERROR_INVALID_ARGUMENT, "batch->query_tokens[%d] is %lld, must not be negative", i,
                            (long long)batch->query_tokens[i]);
        if (batch->query_tokens[i] > length)
            return krn_fail(KRN_ERROR_SHAPE, "batch->query_tokens[%d] is %lld, but sequence %d has %lld tokens", i,
                            (long long)batch->query_tokens[i], batch->sequences[i], (long long)length);
        tokens += batch->query_tokens[i];
        if (tokens > MAX_TOKENS)
            return krn_fail(KRN_ERROR_SHAPE, "batch->query_tokens are more than 2^30 up to the one at %d", i);
    }
    return KRN_OK;
}

static krn_status check_tensor(const char *name, int32_t type, const void *data, int64_t ld, int64_t width,
                               int64_t tokens) {
    if (type != KRN_TYPE_F32 && type != KRN_TYPE_F16 && type != KRN_TYPE_BF16)
        return krn_fail(KRN_ERROR_INVALID_ARGUMENT, "%s->type is %d, not KRN_TYPE_F32, KRN_TYPE_F16 or KRN_TYPE_BF16",
                        name, type);
    if (ld < width)
        return krn_fail(KRN_ERROR_LEADING_DIMENSION, "%s->ld is %lld, heads * head_dim is %lld", name, (long long)ld,
                        (long long)width);
    if (data == NULL && tokens > 0)
        return krn_fail(KRN_ERROR_NULL_ARGUMENT, "%s->data is NULL", name);
    if ((uintptr_t)data % (type == KRN_TYPE_F32 ? 4 : 2) != 0)
        return krn_fail(KRN_ERROR_ALIGNMENT, "%s->data is not aligned to its element", name);
    return KRN_OK;
}

krn_status krn_attention_check_tensors(const krn_attention_call *call) {
    const krn_attention_query *query = call->query;
    const krn_attention_output *output = call->output;
    const int64_t width = call->options->heads * call->head_dim;
    if (query == NULL)
        return krn_fail(KRN_ERROR_NULL_ARGUMENT, "query is NULL");
    if (query->struct_size != sizeof *query)
        return krn_fail(KRN_ERROR_STRUCT_SIZE, "query->struct_size is %u, this library knows %u", query->struct_size,
                        (unsigned)sizeof *query);
    if (output == NULL)
        return krn_fail(KRN_ERROR_NULL_ARGUMENT, "output is NULL");
    if (output->struct_size != sizeof *output)
        return krn_fail(KRN_ERROR_STRUCT_SIZE, "output->struct_size is %u, this library knows %u", output->struct_size,
                        (unsigned)sizeof *output);
    krn_status status = check_tensor("query", query->type, query->data, query->ld, width, call->tokens);
    if (status == KRN_OK)
        status = check_tensor("output", output->type, output->data, output->ld, width, call->tokens);
    if (status == KRN_OK && (uintptr_t)output->lse % sizeof(float) != 0)
        status = krn_fail(KRN_ERROR_ALIGNMENT, "output->lse is not aligned to its element");
    return status;
}
