/* From sums to results, and partial results merged. */
#include "attention/attention_call.h"
#include "common/convert.h"
#include "common/exp.h"
#include "common/fma.h"
#include "common/status.h"

#include <math.h>
#include <stddef.h>
#include <string.h>

/* The lanes of a row's denominator, in ascending order. */
static float total(const float *l) {
    float sum = l[0];
    for (int i = 1; i < KRN_ATTENTION_UNIT; i++)
        sum += l[i];
    return sum;
}

static float log_sum(float highest, float sum) { return (float)((double)highest + log((double)sum)); }

enum {
    /* States of a row lie too far apart for the processor to see what comes next. */
    STATES_AHEAD = 4,
};

static void look_ahead(const float *first, int64_t count) {
    for (int64_t i = 0; i < count; i += 16)
        KRN_PREFETCH(first + i);
}

void krn_attention_put_row(const krn_attention_call *call, const krn_attention_entry *entry, int64_t head, int64_t row,
                           const krn_attention_state *first, int64_t count, int64_t stride, float *merged) {
    const int64_t h = head * call->group + row % call->group, token = entry->first_token + row / call->group;
    const float sink = call->options->sink_logits == NULL ? -INFINITY : call->options->sink_logits[h];
    float highest = sink;
    for (int64_t i = 0; i < count; i++)
        highest = first->m[i * stride] > highest ? first->m[i * stride] : highest;
    float sum = 0;
    const float *acc = first->acc;
    float factor = 0;
    if (count == 1) {
        if (*first->m != -INFINITY) {
            factor = krn_exp_weight(*first->m - highest);
            sum = factor * total(first->l);
        }
    } else {
        memset(merged, 0, (size_t)call->channels * sizeof *merged);
        acc = merged;
        factor = 1;
        for (int64_t i = 0; i < krn_min(count, STATES_AHEAD); i++)
            look_ahead(first->acc + i * stride * call->channels, call->channels);
        for (int64_t i = 0; i < count; i++) {
            if (i + STATES_AHEAD < count)
                look_ahead(first->acc + (i + STATES_AHEAD) * stride * call->channels, call->channels);
            if (first->m[i * stride] == -INFINITY)
                continue;
            const float weight = krn_exp_weight(first->m[i * stride] - highest);
            sum = krn_fmaf(total(first->l + i * stride * KRN_ATTENTION_UNIT), weight, sum);
            call->values->accumulate(merged, first->acc + i * stride * call->channels, weight, call->channels);
        }
    }
    if (sink != -INFINITY)
        sum += krn_exp_weight(sink - highest);
    call->values->put_output(acc, sum > 0 ? factor / sum : 0, call->head_dim, call->output->type, call->output->data,
                             token * call->output->ld + h * call->head_dim);
    if (call->output->lse != NULL)
        call->output->lse[token * call->options->heads + h] = sum > 0 ? log_sum(highest, sum) : -INFINITY;
}

/* One KV head of one entry of decode. */
static void finish_head(void *task_context, int64_t index) {
    const krn_attention_call *call = task_context;
    const krn_attention_entry *entry = &krn_attention_entries(call)[index / call->cache->desc.kv_heads];
    const int64_t head = index % call->cache->desc.kv_heads;
    if (!entry->is_decode)
        return;
    const int64_t head_rows = entry->query_tokens * call->group;
    _Alignas(64) float merged[KRN_KV_MAX_HEAD_DIM];
    for (int64_t row = 0; row < head_rows; row++) {
        const int64_t state = entry->first_state + head * head_rows + row;
        const krn_attention_state first = {
            krn_attention_floats(call, call->space.m) + state,
            krn_attention_floats(call, call->space.l) + state * KRN_ATTENTION_UNIT,
            krn_attention_floats(call, call->space.acc) + state * call->channels,
        };
        krn_attention_put_row(call, entry, head, row, &first, entry->chunks, entry->rows, merged);
    }
}

void krn_attention_finish(const krn_attention_call *call) {
    int has_decode = 0;
    for (int32_t i = 0; i < call->batch->count; i++)
        has_decode |= krn_attention_entries(call)[i].is_decode;
    if (has_decode)
        krn_context_run(call->context, (int64_t)call->batch->count * call->cache->desc.kv_heads, finish_head,
                        (void *)(uintptr_t)call);
}

/* Partial results of a caller. */

typedef struct {
    int32_t count;
    const krn_attention_part *parts;
    int64_t heads, head_dim;
    const krn_attention_output *output;
} merge_job;

static void merge_row(const merge_job *job, int64_t token, int64_t head) {
    const int64_t row = token * job->heads + head;
    float highest = -INFINITY, sum = 0;
    for (int32_t i = 0; i < job->count; i++)
        highest = job->parts[i].lse[row] > highest ? job->parts[i].lse[row] : highest;
    for (int32_t i = 0; highest != -INFINITY && i < job->count; i++)
        sum += krn_exp_weight(job->parts[i].lse[row] - highest);
    for (int64_t c = 0; c < job->head_dim; c++) {
        float merged = 0;
        for (int32_t i = 0; highest != -INFINITY && i < job->count; i++) {
            const float weight = krn_exp_weight(job->parts[i].lse[row] - highest);
            if (weight > 0)
                merged =
                    krn_fmaf(job->parts[i].data[token * job->parts[i].ld + head * job->head_dim + c], weight, merged);
        }
        krn_put_float(job->output->type, job->output->data, token * job->output->ld + head * job->head_dim + c,
                      sum > 0 ? merged / sum : 0);
    }
    if (job->output->lse != NULL)
        job->output->lse[row] = sum > 0 ? log_sum(highest, sum) : -INFINITY;
}

static void merge_token(void *task_context, int64_t token) {
    const merge_job *job = task_context;
    for (int64_t head = 0; head < job->heads; head++)
        merge_row(job, token, head);
}

static krn_status check_parts(const merge_job *job, int64_t tokens) {
    for (int32_t i = 0; i < job->count; i++) {
        const krn_attention_part *part = &job->parts[i];
        if (part->ld < job->heads * job->head_dim)
            return krn_fail(KRN_ERROR_LEADING_DIMENSION, "parts[%d].ld is %lld, heads * head_dim is %lld", i,
                            (long long)part->ld, (long long)(job->heads * job->head_dim));
        if ((part->data == NULL && job->head_dim > 0 && job->heads > 0 && tokens > 0) ||
            (part->lse == NULL && job->heads > 0 && tokens > 0))
            return krn_fail(KRN_ERROR_NULL_ARGUMENT, "parts[%d].%s is NULL", i, part->lse == NULL ? "lse" : "data");
    }
    return KRN_OK;
}

krn_status krn_attention_merge(krn_context *context, int32_t count, const krn_attention_part *parts, int64_t tokens,
                               int64_t heads, int64_t head_dim, const krn_attention_output *output) {
    if (context == NULL)
        return krn_fail(KRN_ERROR_NULL_ARGUMENT, "context is NULL");
    if (count < 1)
        return krn_fail(KRN_ERROR_INVALID_ARGUMENT, "count is %d, must be at least 1", count);
    if (parts == NULL)
        return krn_fail(KRN_ERROR_NULL_ARGUMENT, "parts is NULL");
    if (output == NULL)
        return krn_fail(KRN_ERROR_NULL_ARGUMENT, "output is NULL");
    if (output->struct_size != sizeof *output)
        return krn_fail(KRN_ERROR_STRUCT_SIZE, "output->struct_size is %u, this library knows %u", output->struct_size,
                        (unsigned)sizeof *output);
    if (tokens < 0 || tokens > INT64_C(1) << 40)
        return krn_fail(KRN_ERROR_SHAPE, "tokens is %lld, not in 0..2^40", (long long)tokens);
    if (heads < 0 || heads > 1 << 20)
        return krn_fail(KRN_ERROR_SHAPE, "heads is %lld, not in 0..2^20", (long long)heads);
    if (head_dim < 0 || head_dim > 1 << 20)
        return krn_fail(KRN_ERROR_SHAPE, "head_dim is %lld, not in 0..2^20", (long long)head_dim);
    if (output->type != KRN_TYPE_F32 && output->type != KRN_TYPE_F16 && output->type != KRN_TYPE_BF16)
        return krn_fail(KRN_ERROR_INVALID_ARGUMENT,
                        "output->type is %d, not KRN_TYPE_F32, KRN_TYPE_F16 or KRN_TYPE_BF16", output->type);
    if (output->ld < heads * head_dim)
        return krn_fail(KRN_ERROR_LEADING_DIMENSION, "output->ld is %lld, heads * head_dim is %lld",
                        (long long)output->ld, (long long)(heads * head_dim));
    if (output->data == NULL && tokens > 0 && heads * head_dim > 0)
        return krn_fail(KRN_ERROR_NULL_ARGUMENT, "output->data is NULL");
    merge_job job = {.count = count, .parts = parts, .heads = heads, .head_dim = head_dim, .output = output};
    const krn_status status = check_parts(&job, tokens);
    if (status == KRN_OK)
        krn_context_run(context, tokens, merge_token, &job);
    return status;
}
