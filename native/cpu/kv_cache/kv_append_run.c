/* Tokens on their way into the pages. The unit of work is a block: up to 16 tokens of one entry of the batch, of all
 * heads. Blocks are independent of each other but for the keys of a group (KRN_KV_CHANNEL), whose unit is a head of an
 * entry. */
#include "kv_cache/kv_append_rows.h"

#include <float.h>

static krn_kv_run run_of(const krn_kv_append_job *job, int64_t entry, int64_t block) {
    const krn_kv_cache *cache = job->cache;
    const int64_t length = cache->lengths[job->sequences[entry]], end = length + job->tokens[entry];
    const int64_t at = (length / KRN_KV_BLOCK + block - cache->starts[entry]) * KRN_KV_BLOCK;
    const int64_t first = at > length ? at : length;
    return (krn_kv_run){
        .entry = entry,
        .token = first,
        .row = cache->rows[entry] + first - length,
        .count = (int32_t)(krn_min(at + KRN_KV_BLOCK, end) - first),
    };
}

/* The last entry that begins at or before a block; those of no tokens begin where the next one does. */
static int64_t entry_of(const krn_kv_append_job *job, int64_t block) {
    int64_t low = 0, high = job->count - 1;
    while (low < high) {
        const int64_t middle = (low + high + 1) / 2;
        if (job->cache->starts[middle] <= block)
            low = middle;
        else
            high = middle - 1;
    }
    return low;
}

/* Elements of keys and values in a block. */
static int64_t block_elems(const krn_kv_append_job *job) {
    return (int64_t)2 * KRN_KV_BLOCK * job->cache->layout.kv_heads * job->cache->layout.head_dim;
}

/* Of what goes to pages and nowhere else, storing finds out. */
static int32_t scan_run(const krn_kv_append_job *job, const krn_kv_run *run) {
    krn_kv_floats floats;
    if (!job->scan_all && krn_kv_is_whole_group(job, run->entry, run->token))
        return 1;
    krn_kv_rows keys;
    int32_t finite = 1;
    for (int64_t head = 0; head < job->cache->layout.kv_heads && finite; head++) {
        const krn_kv_rows values = krn_kv_value_rows(job, run->row, head);
        finite = krn_kv_prepare_keys(job, run, head, &floats, &keys) &&
                 (!job->scan_all || krn_kv_measure(job, &values, run->count, floats.magnitudes));
    }
    return finite;
}

/* `head` is a head of a page, `at` a multiple of 16: a token of the page. */
static krn_kv_block block_of(const krn_kv_append_job *job, unsigned char *codes, unsigned char *section, int64_t at) {
    const int64_t page_tokens = job->cache->layout.page_tokens;
    return (krn_kv_block){
        .codes = codes,
        .scales = (float *)(void *)section + at,
        .zero_points = section + page_tokens * (int64_t)sizeof(float) + at,
        .stream = job->stream,
    };
}

/* Where the tokens of a run are in a page. */
typedef struct {
    int32_t page, first;
    /* The token of the page that the block begins with. */
    int64_t at;
} run_place;

/* Heads of a run whose magnitudes are found at once. */
enum { HEADS_AT_ONCE = 32 };

/* max|x| of each token of HEADS_AT_ONCE heads at most; where tokens have zero points, extents too. */
typedef struct {
    float of[HEADS_AT_ONCE][KRN_KV_BLOCK], lowest[HEADS_AT_ONCE][KRN_KV_BLOCK], highest[HEADS_AT_ONCE][KRN_KV_BLOCK];
} head_magnitudes;

/* The same for all these heads, token by token: in the order in which they lie in memory, which is how a processor
 * reads ahead. When they are encoded, head by head, they are in the caches (measured on Zen 5: a fifth of the time from
 * memory). */
static int32_t measure_heads(const krn_kv_append_job *job, const krn_kv_rows *rows, int64_t heads, int32_t count,
                             int has_zeros, head_magnitudes *magnitudes) {
    const int32_t dim = job->cache->layout.head_dim;
    int32_t finite = 1;
    for (int32_t i = 0; i < count; i++) {
        float token[HEADS_AT_ONCE];
        job->quantize->magnitudes(rows->type, krn_kv_row_of(rows, i), heads * dim, dim, token);
        for (int64_t h = 0; h < heads; h++) {
            magnitudes->of[h][i] = token[h];
            finite &= token[h] <= FLT_MAX;
        }
        if (!has_zeros)
            continue;
        float lowest[HEADS_AT_ONCE], highest[HEADS_AT_ONCE];
        job->quantize->extents(rows->type, krn_kv_row_of(rows, i), heads * dim, dim, lowest, highest);
        for (int64_t h = 0; h < heads; h++) {
            magnitudes->lowest[h][i] = lowest[h];
            magnitudes->highest[h][i] = highest[h];
        }
    }
    return finite;
}

static void store_keys(const krn_kv_append_job *job, const run_place *place, int64_t h, krn_kv_rows rows,
                       int32_t count) {
    const krn_kv_layout *layout = &job->cache->layout;
    const krn_kv_encoding keys = krn_kv_encoding_of(job, &job->cache->keys, h);
    unsigned char *head = krn_kv_head(job->cache, place->page, h);
    job->kernels->store_keys(&keys, rows, place->first, count,
                             block_of(job, head + place->at / KRN_KV_BLOCK * layout->key_block_bytes,
                                      head + layout->key_scales_at, place->at));
}

static void store_values(const krn_kv_append_job *job, const run_place *place, int64_t h, krn_kv_rows rows,
                         int32_t count) {
    const krn_kv_layout *layout = &job->cache->layout;
    const krn_kv_encoding values = krn_kv_encoding_of(job, &job->cache->values, h);
    unsigned char *head = krn_kv_head(job->cache, place->page, h);
    job->kernels->store_values(
        &values, rows, place->first, count,
        block_of(job, head + layout->value_codes_at + place->at / KRN_KV_BLOCK * layout->value_block_bytes,
                 head + layout->value_scales_at, place->at));
}

/* Heads from..from+heads-1 of rows that are stored as they come. */
static int32_t store_heads(const krn_kv_append_job *job, const krn_kv_run *run, const run_place *place, int64_t from,
                           int64_t heads, int is_key) {
    head_magnitudes magnitudes;
    const krn_kv_format *format = is_key ? &job->cache->keys : &job->cache->values;
    const int has_zeros = format->type == KRN_TYPE_U4 && format->granularity == KRN_KV_TOKEN;
    const krn_kv_rows rows = is_key ? krn_kv_key_rows(job, run->row, from) : krn_kv_value_rows(job, run->row, from);
    if (!measure_heads(job, &rows, heads, run->count, has_zeros, &magnitudes))
        return 0;
    for (int64_t h = 0; h < heads; h++) {
        krn_kv_rows head =
            is_key ? krn_kv_key_rows(job, run->row, from + h) : krn_kv_value_rows(job, run->row, from + h);
        head.magnitudes = magnitudes.of[h];
        head.lowest = has_zeros ? magnitudes.lowest[h] : NULL;
        head.highest = has_zeros ? magnitudes.highest[h] : NULL;
        (is_key ? store_keys : store_values)(job, place, from + h, head, run->count);
    }
    return 1;
}

static int32_t store_changed_keys(const krn_kv_append_job *job, const krn_kv_run *run, const run_place *place) {
    krn_kv_floats floats;
    for (int64_t h = 0; h < job->cache->layout.kv_heads; h++) {
        krn_kv_rows keys;
        if (!krn_kv_prepare_keys(job, run, h, &floats, &keys))
            return 0;
        store_keys(job, place, h, keys, run->count);
    }
    return 1;
}

/* Channels of a group whose extents are found at once: in the order in which tokens lie in memory, as in
 * measure_heads. */
enum { CHANNELS_AT_ONCE = 4096 };

/* The keys of the whole group that begins with a run. */
static int32_t store_whole_group(const krn_kv_append_job *job, const krn_kv_run *run, const run_place *place) {
    const krn_kv_cache *cache = job->cache;
    const krn_kv_layout *layout = &cache->layout;
    const int64_t dim = layout->head_dim, at_once = CHANNELS_AT_ONCE / dim;
    const int32_t tokens = cache->desc.key_group;
    _Alignas(64) float lowest[CHANNELS_AT_ONCE], highest[CHANNELS_AT_ONCE];
    for (int64_t from = 0; from < layout->kv_heads; from += at_once) {
        const int64_t some = krn_min(at_once, layout->kv_heads - from);
        const krn_kv_rows all = krn_kv_key_rows(job, run->row, from);
        if (!job->kernels->channel_extents(&all, tokens, some * dim, !cache->keys.scheme.asymmetric, lowest, highest))
            return 0;
        for (int64_t h = 0; h < some; h++) {
            const krn_kv_encoding keys = krn_kv_encoding_of(job, &cache->keys, from + h);
            const krn_kv_rows rows = krn_kv_key_rows(job, run->row, from + h);
            unsigned char *head = krn_kv_head(cache, place->page, from + h);
            unsigned char *scales = head + layout->key_scales_at + place->at / tokens * layout->key_group_bytes;
            const krn_kv_block group = {
                .codes = head + place->at / KRN_KV_BLOCK * layout->key_block_bytes,
                .scales = (float *)(void *)scales,
                .zero_points = scales + dim * (int64_t)sizeof(float),
                .stream = job->stream,
            };
            job->kernels->store_group_rows(&keys, &rows, tokens / KRN_KV_BLOCK, lowest + h * dim, highest + h * dim,
                                           group);
        }
    }
    return 1;
}

/* All of a run; of one that is not finite, perhaps a part. */
static int32_t store_run(const krn_kv_append_job *job, const krn_kv_run *run) {
    const krn_kv_cache *cache = job->cache;
    const int64_t page_tokens = cache->layout.page_tokens, heads = cache->layout.kv_heads;
    const int32_t first = (int32_t)(run->token % KRN_KV_BLOCK);
    const run_place place = {.page = krn_kv_table_of(cache, job->sequences[run->entry])[run->token / page_tokens],
                             .first = first,
                             .at = run->token % page_tokens - first};
    const int in_groups = cache->keys.granularity == KRN_KV_CHANNEL;
    if (in_groups && run->token % cache->desc.key_group == 0 && krn_kv_is_whole_group(job, run->entry, run->token) &&
        !store_whole_group(job, run, &place))
        return 0;
    if (!in_groups && krn_kv_changes_keys(job) && !store_changed_keys(job, run, &place))
        return 0;
    for (int64_t from = 0; from < heads; from += HEADS_AT_ONCE) {
        const int64_t some = krn_min(HEADS_AT_ONCE, heads - from);
        if (!in_groups && !krn_kv_changes_keys(job) && !store_heads(job, run, &place, from, some, 1))
            return 0;
        if (!store_heads(job, run, &place, from, some, 0))
            return 0;
    }
    return 1;
}

static void for_blocks(krn_kv_pass *pass, int64_t index,
                       int32_t (*visit)(const krn_kv_append_job *, const krn_kv_run *)) {
    const krn_kv_append_job *job = pass->job;
    const int64_t end = krn_first_row(pass->units, pass->pieces, index + 1);
    int64_t block = krn_first_row(pass->units, pass->pieces, index);
    int32_t finite = 1;
    for (int64_t entry = entry_of(job, block); block < end; block++) {
        while (job->cache->starts[entry + 1] <= block)
            entry++;
        const krn_kv_run run = run_of(job, entry, block);
        finite &= visit(job, &run);
    }
    pass->finite[index] = finite;
}

static void scan_piece(void *task_context, int64_t index) { for_blocks(task_context, index, scan_run); }

static void store_piece(void *task_context, int64_t index) {
    for_blocks(task_context, index, store_run);
    if (((const krn_kv_pass *)task_context)->job->stream)
        KRN_STREAM_FENCE();
}

int krn_kv_append_scan(const krn_kv_append_job *job) {
    krn_kv_pass pass = {.job = job};
    return krn_kv_run_pass(&pass, job->cache->starts[job->count], block_elems(job), scan_piece);
}

int krn_kv_append_store(const krn_kv_append_job *job) {
    krn_kv_pass pass = {.job = job};
    /* First what can be taken back: pages behind the old lengths. */
    if (!krn_kv_run_pass(&pass, job->cache->starts[job->count], block_elems(job), store_piece))
        return 0;
    return job->cache->keys.granularity != KRN_KV_CHANNEL || krn_kv_append_groups(job);
}
