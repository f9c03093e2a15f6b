/* What krn_kv_cache_append does head by head, because it goes through all tokens of a sequence in order: the means of
 * keys, and the groups of KRN_KV_CHANNEL. */
#include "kv_cache/kv_append_rows.h"

#include <math.h>
#include <string.h>

static int32_t take_mean(const krn_kv_append_job *job, int64_t entry, int64_t head) {
    const krn_kv_cache *cache = job->cache;
    const int32_t sequence = job->sequences[entry], dim = cache->layout.head_dim;
    const int64_t count = job->tokens[entry];
    if (cache->lengths[sequence] != 0 || cache->mean_is_set[sequence] || count == 0)
        return 1;
    const krn_kv_rows rows = krn_kv_key_rows(job, cache->rows[entry], head);
    float *mean = krn_kv_mean(cache, sequence, head);
    memset(mean, 0, (size_t)dim * sizeof *mean);
    for (int64_t i = 0; i < count; i++) {
        float key[KRN_KV_MAX_HEAD_DIM];
        krn_kv_widen_key(job, &rows, i, cache->rows[entry] + i, i, key);
        for (int32_t c = 0; c < dim; c++)
            mean[c] = mean[c] + key[c];
    }
    int32_t finite = 1;
    for (int32_t c = 0; c < dim; c++) {
        mean[c] = mean[c] / (float)count;
        finite &= isfinite(mean[c]) != 0;
    }
    return finite;
}

/* The keys of a head of an entry to its tail, and each group to its page when it is full; but for those that have gone
 * there at once. */
static int32_t store_groups(const krn_kv_append_job *job, int64_t entry, int64_t h) {
    krn_kv_cache *cache = job->cache;
    const krn_kv_layout *layout = &cache->layout;
    const int32_t sequence = job->sequences[entry], group_tokens = cache->desc.key_group;
    const int64_t length = cache->lengths[sequence], end = length + job->tokens[entry];
    const int64_t tail_block_elems = (int64_t)layout->head_dim * KRN_KV_BLOCK;
    float *tail = krn_kv_tail(cache, sequence, h);
    const krn_kv_encoding keys = krn_kv_encoding_of(job, &cache->keys, h);
    krn_kv_encoding floats = keys;
    floats.type = KRN_TYPE_F32;
    int32_t finite = 1;
    for (int64_t token = length; token < end;) {
        if (token % group_tokens == 0 && krn_kv_is_whole_group(job, entry, token)) {
            token += group_tokens;
            continue;
        }
        const int32_t first = (int32_t)(token % KRN_KV_BLOCK);
        const krn_kv_run run = {
            .entry = entry,
            .token = token,
            .row = cache->rows[entry] + token - length,
            .count = (int32_t)krn_min(KRN_KV_BLOCK - first, end - token),
        };
        const int64_t in_group = token % group_tokens;
        float *block = tail + in_group / KRN_KV_BLOCK * tail_block_elems;
        krn_kv_floats prepared;
        krn_kv_rows rows;
        finite &= krn_kv_prepare_keys(job, &run, h, &prepared, &rows);
        job->kernels->store_keys(&floats, rows, first, run.count, (krn_kv_block){.codes = (unsigned char *)block});
        token += run.count;
        if (token % group_tokens == 0) {
            const int64_t start = token - group_tokens, at = start % layout->page_tokens;
            const int32_t page = krn_kv_table_of(cache, sequence)[start / layout->page_tokens];
            unsigned char *head = krn_kv_head(cache, page, h);
            unsigned char *scales = head + layout->key_scales_at + at / group_tokens * layout->key_group_bytes;
            job->kernels->store_group(&keys, tail, group_tokens / KRN_KV_BLOCK,
                                      head + at / KRN_KV_BLOCK * layout->key_block_bytes, (float *)(void *)scales,
                                      scales + layout->head_dim * (int64_t)sizeof(float));
        }
    }
    return finite;
}

static void for_heads(krn_kv_pass *pass, int64_t index, int32_t (*visit)(const krn_kv_append_job *, int64_t, int64_t)) {
    const int64_t heads = pass->job->cache->layout.kv_heads;
    const int64_t end = krn_first_row(pass->units, pass->pieces, index + 1);
    int32_t finite = 1;
    for (int64_t unit = krn_first_row(pass->units, pass->pieces, index); unit < end; unit++)
        finite &= visit(pass->job, unit / heads, unit % heads);
    pass->finite[index] = finite;
}

static void mean_piece(void *task_context, int64_t index) { for_heads(task_context, index, take_mean); }
static void group_piece(void *task_context, int64_t index) { for_heads(task_context, index, store_groups); }

static int32_t run_heads(krn_kv_pass *pass, krn_task task) {
    const krn_kv_append_job *job = pass->job;
    const int64_t last = job->count - 1, rows = job->cache->rows[last] + job->tokens[last];
    return krn_kv_run_pass(pass, job->count * job->cache->layout.kv_heads,
                           rows * job->cache->layout.head_dim / job->count + 1, task);
}

int krn_kv_append_means(const krn_kv_append_job *job) {
    krn_kv_pass pass = {.job = job};
    return run_heads(&pass, mean_piece);
}

int32_t krn_kv_append_groups(const krn_kv_append_job *job) {
    krn_kv_pass pass = {.job = job};
    return run_heads(&pass, group_piece);
}
