/* Rows of keys and values on their way into the pages, and what is wrong with them. */
#include "kv_cache/kv_append_rows.h"

#include "common/context.h"
#include "common/convert.h"
#include "common/status.h"

#include <float.h>
#include <math.h>

static krn_kv_rows source_rows(const krn_kv_append_job *job, const unsigned char *source, int64_t ld_bytes, int64_t row,
                               int64_t head) {
    const int64_t head_bytes = job->cache->layout.head_dim * krn_element_bytes(job->source_type);
    return (krn_kv_rows){
        .type = job->source_type, .first = source + row * ld_bytes + head * head_bytes, .ld_bytes = ld_bytes};
}

krn_kv_rows krn_kv_key_rows(const krn_kv_append_job *job, int64_t row, int64_t head) {
    return source_rows(job, job->keys, job->key_ld_bytes, row, head);
}

krn_kv_rows krn_kv_value_rows(const krn_kv_append_job *job, int64_t row, int64_t head) {
    return source_rows(job, job->values, job->value_ld_bytes, row, head);
}

/* One key in f32, rotated by its position where that was asked for. `token` is its number in its sequence. */
void krn_kv_widen_key(const krn_kv_append_job *job, const krn_kv_rows *rows, int64_t index, int64_t row, int64_t token,
                      float *key) {
    const void *source = krn_kv_row_of(rows, index);
    if (job->rope_heads.rotary_dim == 0) {
        krn_widen(key, rows->type, source, 0, job->cache->layout.head_dim);
        return;
    }
    const int64_t position = job->positions != NULL ? job->positions[row] : token;
    const float *cos_sin = job->cos_sin + (position - job->first_position) * job->rope_heads.rotary_dim;
    job->rope->rotate(&job->rope_heads, cos_sin, rows->type, source, KRN_TYPE_F32, key);
}

/* Whether something is done to keys before they are stored. */
int krn_kv_changes_keys(const krn_kv_append_job *job) {
    const krn_kv_cache_desc *desc = &job->cache->desc;
    return desc->center_keys || desc->rotate_keys || job->rope_heads.rotary_dim != 0;
}

/* Whether the group of `token` comes whole in its entry, and as it will be stored. */
int krn_kv_is_whole_group(const krn_kv_append_job *job, int64_t entry, int64_t token) {
    const krn_kv_cache *cache = job->cache;
    const int64_t length = cache->lengths[job->sequences[entry]], group = cache->desc.key_group;
    if (group == 0 || job->kernels->store_group_rows == NULL || cache->layout.head_dim % KRN_KV_BLOCK != 0 ||
        krn_kv_changes_keys(job))
        return 0;
    const int64_t start = token / group * group;
    return start >= length && start + group <= length + job->tokens[entry];
}

/* max|x| of `count` rows of one head; 0 when one is not finite. */
int32_t krn_kv_measure(const krn_kv_append_job *job, const krn_kv_rows *rows, int32_t count, float *magnitudes) {
    const int32_t dim = job->cache->layout.head_dim;
    int32_t finite = 1;
    for (int32_t i = 0; i < count; i++) {
        job->quantize->magnitudes(rows->type, krn_kv_row_of(rows, i), dim, dim, &magnitudes[i]);
        finite &= magnitudes[i] <= FLT_MAX;
    }
    return finite;
}

/* Keys as they are stored, through `floats` when something is done to them; 0 when one is not finite. */
int32_t krn_kv_prepare_keys(const krn_kv_append_job *job, const krn_kv_run *run, int64_t head, krn_kv_floats *floats,
                            krn_kv_rows *keys) {
    const krn_kv_cache *cache = job->cache;
    const int32_t dim = cache->layout.head_dim;
    const krn_kv_rows source = krn_kv_key_rows(job, run->row, head);
    *keys = source;
    keys->magnitudes = floats->magnitudes;
    if (krn_kv_changes_keys(job)) {
        const int centers = cache->desc.center_keys;
        const float *mean = centers ? krn_kv_mean(cache, job->sequences[run->entry], head) : NULL;
        for (int32_t i = 0; i < run->count; i++) {
            float *key = floats->rows + i * dim;
            krn_kv_widen_key(job, &source, i, run->row + i, run->token + i, key);
            for (int32_t c = 0; centers && c < dim; c++)
                key[c] = key[c] - mean[c];
        }
        if (cache->desc.rotate_keys)
            job->hadamard->row(&cache->rotation, KRN_TYPE_F32, run->count, floats->rows, (krn_ahead){0}, floats->rows);
        keys->type = KRN_TYPE_F32;
        keys->first = floats->rows;
        keys->ld_bytes = dim * (int64_t)sizeof(float);
    }
    return krn_kv_measure(job, keys, run->count, floats->magnitudes);
}

krn_kv_encoding krn_kv_encoding_of(const krn_kv_append_job *job, const krn_kv_format *format, int64_t head) {
    const int is_static = format->granularity == KRN_KV_STATIC;
    return (krn_kv_encoding){
        .type = format->type,
        .head_dim = job->cache->layout.head_dim,
        .value_dim = job->cache->layout.value_dim,
        .static_scale = is_static ? format->static_scales[head] : 0,
        .static_zero_point = is_static ? format->static_zero_points[head] : 0,
        .scheme = &format->scheme,
        .quantize = job->quantize,
    };
}

int32_t krn_kv_run_pass(krn_kv_pass *pass, int64_t units, int64_t unit_elems, krn_task task) {
    const krn_kv_append_job *job = pass->job;
    pass->units = units;
    pass->pieces = krn_count_pieces(job->context, units, unit_elems);
    krn_context_run(job->context, pass->pieces, task, pass);
    int32_t finite = 1;
    for (int64_t i = 0; i < pass->pieces; i++)
        finite &= pass->finite[i];
    return finite;
}

/* Which element it was. */

static int find_non_finite(const krn_kv_append_job *job, const char *name, krn_kv_rows rows, int64_t row,
                           int64_t head) {
    for (int32_t c = 0; c < job->cache->layout.head_dim; c++)
        if (!isfinite(krn_float_at(rows.type, rows.first, c))) {
            (void)krn_fail(KRN_ERROR_NON_FINITE, "%s[%lld, %lld, %d] is NaN or infinite", name, (long long)row,
                           (long long)head, c);
            return 1;
        }
    return 0;
}

krn_status krn_kv_append_fail(const krn_kv_append_job *job) {
    const int64_t last = job->count - 1, rows = job->cache->rows[last] + job->tokens[last];
    for (int64_t row = 0; row < rows; row++)
        for (int64_t head = 0; head < job->cache->layout.kv_heads; head++)
            if (find_non_finite(job, "keys", krn_kv_key_rows(job, row, head), row, head) ||
                find_non_finite(job, "values", krn_kv_value_rows(job, row, head), row, head))
                return KRN_ERROR_NON_FINITE;
    return krn_fail(KRN_ERROR_NON_FINITE, "a key or a mean of keys becomes infinite: the keys are too large");
}
