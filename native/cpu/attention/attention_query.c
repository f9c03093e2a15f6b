/* Queries on their way in: widened, rotated, quantized. */
#include "attention/attention_call.h"
#include "attention/attention_cell.h"
#include "common/convert.h"
#include "common/status.h"

#include <math.h>
#include <stdatomic.h>
#include <stddef.h>
#include <string.h>

enum {
    /* Query tokens that a thread takes at a time. */
    PIECE_TOKENS = 16,
};

typedef struct {
    const krn_attention_call *call;
    atomic_int is_finite;
} prepare_job;

/* q . mean, in binary64 in the order of eight sums, whichever way the compiler takes them. */
static double dot_mean(const float *q, const float *mean, int64_t head_dim) {
    double sums[8] = {0};
    for (int64_t i = 0; i < head_dim; i += 8)
        for (int64_t j = 0; j < 8; j++)
            sums[j] += (double)q[i + j] * (double)mean[i + j];
    return ((sums[0] + sums[4]) + (sums[2] + sums[6])) + ((sums[1] + sums[5]) + (sums[3] + sums[7]));
}

/* A query for integer keys with scales of their own tokens or of their head. */
static void quantize_row(const krn_attention_call *call, const float *floats, int64_t head, int64_t row) {
    const krn_kv_format *format = &call->cache->keys;
    const krn_attention_space *space = &call->space;
    float scale = 0;
    int32_t sum = 0, zero_sum = 0;
    const krn_query_job job = {
        .head_dim = call->head_dim,
        .query = floats,
        .codes = (int8_t *)(call->workspace + space->q + row * call->q_row_bytes),
        .scale = &scale,
        .sum = &sum,
        .zero_sum = &zero_sum,
    };
    call->keys->quantize_query(&job);
    const int is_static = format->granularity == KRN_KV_STATIC;
    int32_t zero = format->type == KRN_TYPE_S8 ? 128 : format->type == KRN_TYPE_S4 ? 8 : 0;
    if (format->type == KRN_TYPE_U4 && is_static)
        zero = format->static_zero_points[head];
    scale *= call->scale;
    krn_attention_floats(call, space->q_scale)[row] = is_static ? scale * format->static_scales[head] : scale;
    krn_attention_ints(call, space->q_offset)[row] = zero * sum;
    krn_attention_ints(call, space->q_sum)[row] = sum;
}

static void prepare_row(const krn_attention_call *call, const float *floats, int64_t head, int64_t row) {
    const krn_kv_format *format = &call->cache->keys;
    uint8_t *q = call->workspace + call->space.q + row * call->q_row_bytes;
    float *q_scale = &krn_attention_floats(call, call->space.q_scale)[row];
    *q_scale = call->scale;
    if (format->granularity == KRN_KV_CHANNEL) {
        float *kept = krn_attention_floats(call, call->space.q_floats) + row * call->head_dim;
        memcpy(kept, floats, (size_t)call->head_dim * sizeof *kept);
        return;
    }
    if (krn_is_integer(format->type)) {
        quantize_row(call, floats, head, row);
        return;
    }
    if (format->granularity == KRN_KV_STATIC)
        *q_scale *= format->static_scales[head];
    if (format->type == KRN_TYPE_F32) {
        memcpy(q, floats, (size_t)call->head_dim * sizeof *floats);
        return;
    }
    krn_query_form form = KRN_QUERY_ROUNDED;
    if (call->keys->takes_pairs)
        form = format->type == KRN_TYPE_BF16 ? KRN_QUERY_PAIRS : KRN_QUERY_SWAPPED_PAIRS;
    call->keys->round_query(floats, call->head_dim, form, q);
}

/* A query token of an entry; whether it is finite. */
static int prepare_token(const krn_attention_call *call, const krn_attention_entry *entry, int64_t token) {
    const krn_kv_cache *cache = call->cache;
    for (int64_t h = 0; h < call->options->heads; h++) {
        _Alignas(64) float floats[KRN_KV_MAX_HEAD_DIM];
        const int64_t first = (entry->first_token + token) * call->query->ld + h * call->head_dim;
        if (!call->keys->widen_query(call->query->type, call->query->data, first, call->head_dim, floats))
            return 0;
        const int64_t head = h / call->group;
        const int64_t row = entry->first_row + (head * entry->query_tokens + token) * call->group + h % call->group;
        float bias = 0;
        if (cache->desc.center_keys)
            bias = call->scale * (float)dot_mean(floats, krn_kv_mean(cache, entry->sequence, head), call->head_dim);
        krn_attention_floats(call, call->space.q_bias)[row] = bias;
        if (cache->desc.rotate_keys)
            call->hadamard->row(&cache->rotation, KRN_TYPE_F32, 1, floats, (krn_ahead){0}, floats);
        prepare_row(call, floats, head, row);
    }
    return 1;
}

static void prepare_piece(void *task_context, int64_t piece) {
    prepare_job *job = task_context;
    const krn_attention_call *call = job->call;
    const krn_attention_entry *entry = krn_attention_entries(call);
    const int64_t end = krn_min(call->tokens, (piece + 1) * PIECE_TOKENS);
    for (int64_t token = piece * PIECE_TOKENS; token < end; token++) {
        while (token >= entry->first_token + entry->query_tokens)
            entry++;
        if (!prepare_token(call, entry, token - entry->first_token)) {
            atomic_store_explicit(&job->is_finite, 0, memory_order_relaxed);
            return;
        }
    }
}

static krn_status fail_non_finite(const krn_attention_call *call) {
    int64_t token = 0, i = 0;
    while (isfinite(krn_float_at(call->query->type, call->query->data, token * call->query->ld + i))) {
        i++;
        if (i == call->options->heads * call->head_dim) {
            i = 0;
            token++;
        }
    }
    return krn_fail(KRN_ERROR_NON_FINITE, "query[%lld, %lld, %lld] is NaN or infinite", (long long)token,
                    (long long)(i / call->head_dim), (long long)(i % call->head_dim));
}

krn_status krn_attention_prepare(const krn_attention_call *call) {
    prepare_job job = {.call = call, .is_finite = 1};
    krn_context_run(call->context, krn_divide_up(call->tokens, PIECE_TOKENS), prepare_piece, &job);
    return atomic_load_explicit(&job.is_finite, memory_order_relaxed) ? KRN_OK : fail_non_finite(call);
}
