/* Tokens on their way into the pages. The unit of work is a block: up to 16 tokens of one entry of the batch, of all
 * heads. Blocks are independent of each other but for the keys of a group (KRN_KV_CHANNEL), whose unit is a head of an
 * entry. */
#include "kv_cache/kv_append.h"

#include "common/context.h"
#include "common/convert.h"
#include "common/status.h"

#include <float.h>
#include <math.h>
#include <stddef.h>
#include <string.h>

/* The floats of 16 tokens of a head. */
typedef struct {
    _Alignas(64) float rows[KRN_KV_BLOCK * KRN_KV_MAX_HEAD_DIM];
    float magnitudes[KRN_KV_BLOCK];
} block_floats;

/* Up to 16 tokens of an entry: those from `token` of its sequence on, which are rows from `row` on. */
typedef struct {
    int64_t entry, token, row;
    int32_t count;
} token_run;

typedef struct {
    const krn_kv_append_job *job;
    int64_t units, pieces;
    int32_t finite[KRN_QUANTIZE_MAX_PIECES];
} append_pass;

static krn_kv_rows source_rows(const krn_kv_append_job *job, const unsigned char *source, int64_t ld_bytes, int64_t row,
                               int64_t head) {
    const int64_t head_bytes = job->cache->layout.head_dim * krn_element_bytes(job->source_type);
    return (krn_kv_rows){
        .type = job->source_type, .first = source + row * ld_bytes + head * head_bytes, .ld_bytes = ld_bytes};
}

static krn_kv_rows key_rows(const krn_kv_append_job *job, int64_t row, int64_t head) {
    return source_rows(job, job->keys, job->key_ld_bytes, row, head);
}

static krn_kv_rows value_rows(const krn_kv_append_job *job, int64_t row, int64_t head) {
    return source_rows(job, job->values, job->value_ld_bytes, row, head);
}

static const void *row_of(const krn_kv_rows *rows, int64_t index) {
    return (const unsigned char *)rows->first + index * rows->ld_bytes;
}

/* One key in f32, rotated by its position where that was asked for. `token` is its number in its sequence. */
static void widen_key(const krn_kv_append_job *job, const krn_kv_rows *rows, int64_t index, int64_t row, int64_t token,
                      float *key) {
    const void *source = row_of(rows, index);
    if (job->rope_heads.rotary_dim == 0) {
        krn_widen(key, rows->type, source, 0, job->cache->layout.head_dim);
        return;
    }
    const int64_t position = job->positions != NULL ? job->positions[row] : token;
    const float *cos_sin = job->cos_sin + (position - job->first_position) * job->rope_heads.rotary_dim;
    job->rope->rotate(&job->rope_heads, cos_sin, rows->type, source, KRN_TYPE_F32, key);
}

/* Whether something is done to keys before they are stored. */
static int changes_keys(const krn_kv_append_job *job) {
    const krn_kv_cache_desc *desc = &job->cache->desc;
    return desc->center_keys || desc->rotate_keys || job->rope_heads.rotary_dim != 0;
}

/* max|x| of `count` rows of one head; 0 when one is not finite. */
static int32_t measure(const krn_kv_append_job *job, const krn_kv_rows *rows, int32_t count, float *magnitudes) {
    const int32_t dim = job->cache->layout.head_dim;
    int32_t finite = 1;
    for (int32_t i = 0; i < count; i++) {
        job->quantize->magnitudes(rows->type, row_of(rows, i), dim, dim, &magnitudes[i]);
        finite &= magnitudes[i] <= FLT_MAX;
    }
    return finite;
}

/* Keys as they are stored, through `floats` when something is done to them; 0 when one is not finite. */
static int32_t prepare_keys(const krn_kv_append_job *job, const token_run *run, int64_t head, block_floats *floats,
                            krn_kv_rows *keys) {
    const krn_kv_cache *cache = job->cache;
    const int32_t dim = cache->layout.head_dim;
    const krn_kv_rows source = key_rows(job, run->row, head);
    *keys = source;
    keys->magnitudes = floats->magnitudes;
    if (changes_keys(job)) {
        const int centers = cache->desc.center_keys;
        const float *mean = centers ? krn_kv_mean(cache, job->sequences[run->entry], head) : NULL;
        for (int32_t i = 0; i < run->count; i++) {
            float *key = floats->rows + i * dim;
            widen_key(job, &source, i, run->row + i, run->token + i, key);
            for (int32_t c = 0; centers && c < dim; c++)
                key[c] = key[c] - mean[c];
        }
        if (cache->desc.rotate_keys)
            job->hadamard->row(&cache->rotation, run->count, floats->rows);
        keys->type = KRN_TYPE_F32;
        keys->first = floats->rows;
        keys->ld_bytes = dim * (int64_t)sizeof(float);
    }
    return measure(job, keys, run->count, floats->magnitudes);
}

/* Passes over blocks. */

static token_run run_of(const krn_kv_append_job *job, int64_t entry, int64_t block) {
    const krn_kv_cache *cache = job->cache;
    const int64_t length = cache->lengths[job->sequences[entry]], end = length + job->tokens[entry];
    const int64_t at = (length / KRN_KV_BLOCK + block - cache->starts[entry]) * KRN_KV_BLOCK;
    const int64_t first = at > length ? at : length;
    return (token_run){
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

static int32_t run_pass(append_pass *pass, int64_t units, int64_t unit_elems, krn_task task) {
    const krn_kv_append_job *job = pass->job;
    pass->units = units;
    pass->pieces = krn_count_pieces(job->context, units, unit_elems);
    krn_context_run(job->context, pass->pieces, task, pass);
    int32_t finite = 1;
    for (int64_t i = 0; i < pass->pieces; i++)
        finite &= pass->finite[i];
    return finite;
}

/* Elements of keys and values in a block. */
static int64_t block_elems(const krn_kv_append_job *job) {
    return (int64_t)2 * KRN_KV_BLOCK * job->cache->layout.kv_heads * job->cache->layout.head_dim;
}

static int32_t scan_run(const krn_kv_append_job *job, const token_run *run) {
    block_floats floats;
    krn_kv_rows keys;
    int32_t finite = 1;
    for (int64_t head = 0; head < job->cache->layout.kv_heads && finite; head++) {
        const krn_kv_rows values = value_rows(job, run->row, head);
        finite = prepare_keys(job, run, head, &floats, &keys) && measure(job, &values, run->count, floats.magnitudes);
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

static krn_kv_encoding encoding_of(const krn_kv_append_job *job, const krn_kv_format *format, int64_t head) {
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

/* Where the tokens of a run are in a page. */
typedef struct {
    int32_t page, first;
    /* The token of the page that the block begins with. */
    int64_t at;
} run_place;

/* Heads of a run whose magnitudes are found at once. */
enum { HEADS_AT_ONCE = 32 };

/* max|x| of each token of HEADS_AT_ONCE heads at most. */
typedef struct {
    float of[HEADS_AT_ONCE][KRN_KV_BLOCK];
} head_magnitudes;

/* The same for all these heads, token by token: in the order in which they lie in memory, which is how a processor reads
 * ahead. When they are encoded, head by head, they are in the caches (measured on Zen 5: a fifth of the time from
 * memory). */
static int32_t measure_heads(const krn_kv_append_job *job, const krn_kv_rows *rows, int64_t heads, int32_t count,
                             head_magnitudes *magnitudes) {
    const int32_t dim = job->cache->layout.head_dim;
    int32_t finite = 1;
    for (int32_t i = 0; i < count; i++) {
        float token[HEADS_AT_ONCE];
        job->quantize->magnitudes(rows->type, row_of(rows, i), heads * dim, dim, token);
        for (int64_t h = 0; h < heads; h++) {
            magnitudes->of[h][i] = token[h];
            finite &= token[h] <= FLT_MAX;
        }
    }
    return finite;
}

static void store_keys(const krn_kv_append_job *job, const run_place *place, int64_t h, krn_kv_rows rows,
                       int32_t count) {
    const krn_kv_layout *layout = &job->cache->layout;
    const krn_kv_encoding keys = encoding_of(job, &job->cache->keys, h);
    unsigned char *head = krn_kv_head(job->cache, place->page, h);
    job->kernels->store_keys(&keys, rows, place->first, count,
                             block_of(job, head + place->at / KRN_KV_BLOCK * layout->key_block_bytes,
                                      head + layout->key_scales_at, place->at));
}

static void store_values(const krn_kv_append_job *job, const run_place *place, int64_t h, krn_kv_rows rows,
                         int32_t count) {
    const krn_kv_layout *layout = &job->cache->layout;
    const krn_kv_encoding values = encoding_of(job, &job->cache->values, h);
    unsigned char *head = krn_kv_head(job->cache, place->page, h);
    job->kernels->store_values(
        &values, rows, place->first, count,
        block_of(job, head + layout->value_codes_at + place->at / KRN_KV_BLOCK * layout->value_block_bytes,
                 head + layout->value_scales_at, place->at));
}

/* Heads from..from+heads-1 of rows that are stored as they come. */
static int32_t store_heads(const krn_kv_append_job *job, const token_run *run, const run_place *place, int64_t from,
                           int64_t heads, int is_key) {
    head_magnitudes magnitudes;
    const krn_kv_rows rows = is_key ? key_rows(job, run->row, from) : value_rows(job, run->row, from);
    if (!measure_heads(job, &rows, heads, run->count, &magnitudes))
        return 0;
    for (int64_t h = 0; h < heads; h++) {
        krn_kv_rows head = is_key ? key_rows(job, run->row, from + h) : value_rows(job, run->row, from + h);
        head.magnitudes = magnitudes.of[h];
        (is_key ? store_keys : store_values)(job, place, from + h, head, run->count);
    }
    return 1;
}

static int32_t store_changed_keys(const krn_kv_append_job *job, const token_run *run, const run_place *place) {
    block_floats floats;
    for (int64_t h = 0; h < job->cache->layout.kv_heads; h++) {
        krn_kv_rows keys;
        if (!prepare_keys(job, run, h, &floats, &keys))
            return 0;
        store_keys(job, place, h, keys, run->count);
    }
    return 1;
}

/* All of a run; of one that is not finite, perhaps a part. */
static int32_t store_run(const krn_kv_append_job *job, const token_run *run) {
    const krn_kv_cache *cache = job->cache;
    const int64_t page_tokens = cache->layout.page_tokens, heads = cache->layout.kv_heads;
    const int32_t first = (int32_t)(run->token % KRN_KV_BLOCK);
    const run_place place = {.page = krn_kv_table_of(cache, job->sequences[run->entry])[run->token / page_tokens],
                             .first = first,
                             .at = run->token % page_tokens - first};
    const int in_groups = cache->keys.granularity == KRN_KV_CHANNEL;
    if (!in_groups && changes_keys(job) && !store_changed_keys(job, run, &place))
        return 0;
    for (int64_t from = 0; from < heads; from += HEADS_AT_ONCE) {
        const int64_t some = krn_min(HEADS_AT_ONCE, heads - from);
        if (!in_groups && !changes_keys(job) && !store_heads(job, run, &place, from, some, 1))
            return 0;
        if (!store_heads(job, run, &place, from, some, 0))
            return 0;
    }
    return 1;
}

static void for_blocks(append_pass *pass, int64_t index,
                       int32_t (*visit)(const krn_kv_append_job *, const token_run *)) {
    const krn_kv_append_job *job = pass->job;
    const int64_t end = krn_first_row(pass->units, pass->pieces, index + 1);
    int64_t block = krn_first_row(pass->units, pass->pieces, index);
    int32_t finite = 1;
    for (int64_t entry = entry_of(job, block); block < end; block++) {
        while (job->cache->starts[entry + 1] <= block)
            entry++;
        const token_run run = run_of(job, entry, block);
        finite &= visit(job, &run);
    }
    pass->finite[index] = finite;
}

static void scan_piece(void *task_context, int64_t index) { for_blocks(task_context, index, scan_run); }

static void store_piece(void *task_context, int64_t index) {
    for_blocks(task_context, index, store_run);
    if (((const append_pass *)task_context)->job->stream)
        KRN_STREAM_FENCE();
}

int krn_kv_append_scan(const krn_kv_append_job *job) {
    append_pass pass = {.job = job};
    return run_pass(&pass, job->cache->starts[job->count], block_elems(job), scan_piece);
}

/* Passes over the heads of entries. */

static int32_t take_mean(const krn_kv_append_job *job, int64_t entry, int64_t head) {
    const krn_kv_cache *cache = job->cache;
    const int32_t sequence = job->sequences[entry], dim = cache->layout.head_dim;
    const int64_t count = job->tokens[entry];
    if (cache->lengths[sequence] != 0 || cache->mean_is_set[sequence] || count == 0)
        return 1;
    const krn_kv_rows rows = key_rows(job, cache->rows[entry], head);
    float *mean = krn_kv_mean(cache, sequence, head);
    memset(mean, 0, (size_t)dim * sizeof *mean);
    for (int64_t i = 0; i < count; i++) {
        float key[KRN_KV_MAX_HEAD_DIM];
        widen_key(job, &rows, i, cache->rows[entry] + i, i, key);
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

/* The keys of a head of an entry to its tail, and each group to its page when it is full. */
static int32_t store_groups(const krn_kv_append_job *job, int64_t entry, int64_t h) {
    krn_kv_cache *cache = job->cache;
    const krn_kv_layout *layout = &cache->layout;
    const int32_t sequence = job->sequences[entry], group_tokens = cache->desc.key_group;
    const int64_t length = cache->lengths[sequence], end = length + job->tokens[entry];
    const int64_t tail_block_elems = (int64_t)layout->head_dim * KRN_KV_BLOCK;
    float *tail = krn_kv_tail(cache, sequence, h);
    const krn_kv_encoding keys = encoding_of(job, &cache->keys, h);
    krn_kv_encoding floats = keys;
    floats.type = KRN_TYPE_F32;
    int32_t finite = 1;
    for (int64_t token = length; token < end;) {
        const int32_t first = (int32_t)(token % KRN_KV_BLOCK);
        const token_run run = {
            .entry = entry,
            .token = token,
            .row = cache->rows[entry] + token - length,
            .count = (int32_t)krn_min(KRN_KV_BLOCK - first, end - token),
        };
        const int64_t in_group = token % group_tokens;
        float *block = tail + in_group / KRN_KV_BLOCK * tail_block_elems;
        block_floats prepared;
        krn_kv_rows rows;
        finite &= prepare_keys(job, &run, h, &prepared, &rows);
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

static void for_heads(append_pass *pass, int64_t index, int32_t (*visit)(const krn_kv_append_job *, int64_t, int64_t)) {
    const int64_t heads = pass->job->cache->layout.kv_heads;
    const int64_t end = krn_first_row(pass->units, pass->pieces, index + 1);
    int32_t finite = 1;
    for (int64_t unit = krn_first_row(pass->units, pass->pieces, index); unit < end; unit++)
        finite &= visit(pass->job, unit / heads, unit % heads);
    pass->finite[index] = finite;
}

static void mean_piece(void *task_context, int64_t index) { for_heads(task_context, index, take_mean); }
static void group_piece(void *task_context, int64_t index) { for_heads(task_context, index, store_groups); }

static int32_t run_heads(append_pass *pass, krn_task task) {
    const krn_kv_append_job *job = pass->job;
    const int64_t last = job->count - 1, rows = job->cache->rows[last] + job->tokens[last];
    return run_pass(pass, job->count * job->cache->layout.kv_heads, rows * job->cache->layout.head_dim / job->count + 1,
                    task);
}

int krn_kv_append_means(const krn_kv_append_job *job) {
    append_pass pass = {.job = job};
    return run_heads(&pass, mean_piece);
}

int krn_kv_append_store(const krn_kv_append_job *job) {
    append_pass pass = {.job = job};
    int32_t finite = 1;
    if (job->cache->keys.granularity == KRN_KV_CHANNEL)
        finite = run_heads(&pass, group_piece);
    return finite & run_pass(&pass, job->cache->starts[job->count], block_elems(job), store_piece);
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
            if (find_non_finite(job, "keys", key_rows(job, row, head), row, head) ||
                find_non_finite(job, "values", value_rows(job, row, head), row, head))
                return KRN_ERROR_NON_FINITE;
    return krn_fail(KRN_ERROR_NON_FINITE, "a key or a mean of keys becomes infinite: the keys are too large");
}
