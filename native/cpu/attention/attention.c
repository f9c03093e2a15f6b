/* The door of attention.h: dispatch and the layout of the workspace; the checks are in attention_arguments.c. */
#include "kernels/attention.h"

#include "attention/attention_call.h"
#include "attention/attention_variants.h"
#include "common/status.h"

#include <math.h>
#include <stddef.h>

enum { LINE = 64 };

#define ADDRESS(variant) &variant,
static const krn_attention_kernels *const variants[] = {KRN_ATTENTION_VARIANTS(ADDRESS)};
#undef ADDRESS

static const krn_attention_kernels *find_variant(const krn_context *context, uint32_t key_type, uint32_t value_type) {
    const krn_attention_kernels *const *variant = variants;
    /* The reference is last, needs no features and takes every type. */
    while (((*variant)->features & ~context->features) != 0 || (key_type & ~(*variant)->key_types) != 0 ||
           (value_type & ~(*variant)->value_types) != 0)
        variant++;
    return *variant;
}

static int is_cache_type(int32_t type) {
    return type > 0 && type < 32 && (KRN_ATTENTION_BIT(type) & KRN_ATTENTION_ALL_TYPES) != 0;
}

const char *krn_attention_variant(const krn_context *context, int32_t key_type, int32_t value_type) {
    if (context == NULL || !is_cache_type(key_type) || !is_cache_type(value_type))
        return NULL;
    const krn_attention_kernels *keys = find_variant(context, KRN_ATTENTION_BIT(key_type), 0);
    const krn_attention_kernels *values = find_variant(context, 0, KRN_ATTENTION_BIT(value_type));
    return (values->features & ~keys->features) != 0 ? values->name : keys->name;
}

krn_attention_entry krn_attention_next_entry(const krn_attention_call *call, const krn_attention_entry *before,
                                             int32_t index) {
    krn_attention_entry entry = {
        .sequence = call->batch->sequences[index],
        .query_tokens = call->batch->query_tokens[index],
        .first_token = before->first_token + before->query_tokens,
        .first_row = before->first_row + before->rows,
        .first_state = before->first_state + before->chunks * before->rows,
        .first_item = before->first_item + before->items,
    };
    entry.length = call->cache->lengths[entry.sequence];
    entry.rows = entry.query_tokens * call->options->heads;
    entry.is_decode = entry.query_tokens <= KRN_ATTENTION_DECODE_TOKENS;
    if (entry.query_tokens == 0)
        return entry;
    if (entry.is_decode) {
        entry.chunks = krn_divide_up(entry.length, KRN_ATTENTION_CHUNK);
        entry.items = entry.chunks * call->head_ranges;
    } else {
        entry.items = call->cache->desc.kv_heads * krn_divide_up(entry.query_tokens * call->group, KRN_ATTENTION_ROWS);
    }
    return entry;
}

/* The entry behind the last one. */
static krn_attention_entry count_entries(const krn_attention_call *call, krn_attention_entry *entries) {
    krn_attention_entry entry = {0};
    for (int32_t i = 0; i < call->batch->count; i++) {
        entry = krn_attention_next_entry(call, &entry, i);
        if (entries != NULL)
            entries[i] = entry;
    }
    return entry;
}

/* `count` things of `bytes` bytes behind everything so far. */
static int64_t take(int64_t *end, int64_t count, int64_t bytes) {
    const int64_t start = *end;
    *end += krn_divide_up(count * bytes, LINE) * LINE;
    return start;
}

static krn_attention_space lay_out(const krn_attention_call *call) {
    krn_attention_space space = {0};
    const int64_t rows = call->rows, word = (int64_t)sizeof(float);
    take(&space.end, call->batch->count, (int64_t)sizeof(krn_attention_entry));
    space.q = take(&space.end, rows, call->q_row_bytes);
    space.q_floats = take(&space.end, call->tail != NULL ? rows : 0, call->head_dim * word);
    space.q_scale = take(&space.end, rows, word);
    space.q_bias = take(&space.end, rows, word);
    space.q_offset = take(&space.end, rows, word);
    space.q_sum = take(&space.end, rows, word);
    space.m = take(&space.end, call->states, word);
    space.l = take(&space.end, call->states, KRN_ATTENTION_UNIT * word);
    space.acc = take(&space.end, call->states, call->channels * word);
    space.scratch = space.end;
    take(&space.scratch_bytes, 1, (int64_t)sizeof(krn_attention_scratch));
    take(&space.scratch_bytes, KRN_ATTENTION_ROWS, call->channels * word);
    take(&space.scratch_bytes, call->tail != NULL ? KRN_ATTENTION_ROWS : 0, call->head_dim);
    take(&space.end, call->context->num_threads, space.scratch_bytes);
    return space;
}

static int64_t query_row_bytes(const krn_attention_call *call) {
    const int32_t type = call->cache->desc.key_type;
    if ((KRN_ATTENTION_BIT(type) & KRN_ATTENTION_INTEGERS) != 0)
        return call->cache->desc.key_granularity == KRN_KV_CHANNEL ? 0 : call->head_dim;
    return call->head_dim * (type != KRN_TYPE_F32 && call->keys->takes_pairs ? 2 : 4);
}

/* Everything but the tensors and the workspace, checked. */
static krn_status make_call(const krn_context *context, const krn_kv_cache *cache, const krn_attention_options *options,
                            const krn_attention_batch *batch, krn_attention_call *call) {
    if (context == NULL)
        return krn_fail(KRN_ERROR_NULL_ARGUMENT, "context is NULL");
    if (cache == NULL)
        return krn_fail(KRN_ERROR_NULL_ARGUMENT, "cache is NULL");
    krn_status status = krn_attention_check_options(cache, options);
    if (status == KRN_OK)
        status = krn_attention_check_batch(cache, batch);
    if (status != KRN_OK)
        return status;
    const krn_kv_cache_desc *desc = &cache->desc;
    const uint32_t f32 = KRN_ATTENTION_BIT(KRN_TYPE_F32);
    *call = (krn_attention_call){
        .cache = cache,
        .options = options,
        .batch = batch,
        .keys = find_variant(context, KRN_ATTENTION_BIT(desc->key_type), 0),
        .values = find_variant(context, 0, KRN_ATTENTION_BIT(desc->value_type)),
        .tail = desc->key_granularity == KRN_KV_CHANNEL ? find_variant(context, f32, 0) : NULL,
        .hadamard = desc->rotate_keys ? krn_hadamard_kernels_of(context) : NULL,
        .scale = options->scale != 0 ? options->scale : (float)(1 / sqrt(desc->head_dim)),
        .group = options->heads / desc->kv_heads,
        .head_dim = desc->head_dim,
        .channels = cache->layout.value_dim,
        .head_ranges = 1,
    };
    const krn_attention_entry all = count_entries(call, NULL);
    /* Two for every thread even out what one that starts late leaves. */
    const int64_t wanted = 2 * (int64_t)context->num_threads;
    if (context->num_threads > 1 && all.first_item + all.items < wanted && all.first_item + all.items > 0) {
        const int64_t ranges = krn_divide_up(wanted, all.first_item + all.items);
        call->head_ranges = ranges < desc->kv_heads ? ranges : desc->kv_heads;
    }
    const krn_attention_entry last = count_entries(call, NULL);
    call->tokens = last.first_token + last.query_tokens;
    call->rows = last.first_row + last.rows;
    call->states = last.first_state + last.chunks * last.rows;
    call->items = last.first_item + last.items;
    if (call->rows > INT64_C(1) << 44 || call->states > INT64_C(1) << 44)
        return krn_fail(KRN_ERROR_SHAPE, "%lld rows of queries and %lld of states do not fit the address space",
                        (long long)call->rows, (long long)call->states);
    return KRN_OK;
}

krn_status krn_attention_workspace_size(const krn_context *context, const krn_kv_cache *cache,
                                        const krn_attention_options *options, const krn_attention_batch *batch,
                                        int64_t *bytes) {
    if (bytes == NULL)
        return krn_fail(KRN_ERROR_NULL_ARGUMENT, "bytes is NULL");
    krn_attention_call call;
    const krn_status status = make_call(context, cache, options, batch, &call);
    if (status != KRN_OK)
        return status;
    /* Only asked for its number of threads. */
    call.context = (krn_context *)(uintptr_t)context;
    call.q_row_bytes = query_row_bytes(&call);
    *bytes = lay_out(&call).end;
    return KRN_OK;
}

krn_status krn_attention(krn_context *context, const krn_kv_cache *cache, const krn_attention_options *options,
                         const krn_attention_batch *batch, const krn_attention_query *query,
                         const krn_attention_output *output, void *workspace, int64_t workspace_bytes) {
    krn_attention_call call;
    krn_status status = make_call(context, cache, options, batch, &call);
    if (status != KRN_OK)
        return status;
    call.context = context;
    call.query = query;
    call.output = output;
    status = krn_attention_check_tensors(&call);
    if (status != KRN_OK)
        return status;
    call.q_row_bytes = query_row_bytes(&call);
    call.space = lay_out(&call);
    call.workspace = workspace;
    if (workspace_bytes < call.space.end)
        return krn_fail(KRN_ERROR_BUFFER_TOO_SMALL, "workspace_bytes is %lld, %lld are needed",
                        (long long)workspace_bytes, (long long)call.space.end);
    if (workspace == NULL)
        return krn_fail(KRN_ERROR_NULL_ARGUMENT, "workspace is NULL, %lld bytes are needed", (long long)call.space.end);
    if ((uintptr_t)workspace % LINE != 0)
        return krn_fail(KRN_ERROR_ALIGNMENT, "workspace is not aligned to %d bytes", LINE);
    if (call.tokens == 0)
        return KRN_OK;
    count_entries(&call, krn_attention_entries(&call));
    status = krn_attention_prepare(&call);
    if (status != KRN_OK)
        return status;
    krn_attention_run(&call);
    krn_attention_finish(&call);
    return KRN_OK;
}
