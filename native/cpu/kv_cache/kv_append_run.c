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

/* Keys as they are stored: as they come, or through `floats` where something is done to them. */
static krn_kv_rows prepare_keys(const krn_kv_append_job *job, const token_run *run, int64_t head,
                                block_floats *floats) {
    const krn_kv_cache *cache = job->cache;
    const krn_kv_rows rows = key_rows(job, run->row, head);
    if (!cache->desc.center_keys)
        return rows;
    const int32_t dim = cache->layout.head_dim;
    const float *mean = krn_kv_mean(cache, job->sequences[run->entry], head);
    for (int32_t i = 0; i < run->count; i++) {
        float *row = floats->rows + i * dim;
        krn_widen(row, rows.type, row_of(&rows, i), 0, dim);
        for (int32_t c = 0; c < dim; c++)
            row[c] = row[c] - mean[c];
    }
    return (krn_kv_rows){.type = KRN_TYPE_F32, .first = floats->rows, .ld_bytes = dim * (int64_t)sizeof(float)};
}

static int rows_finite(const krn_kv_append_job *job, krn_kv_rows rows, int32_t count) {
    const int32_t dim = job->cache->layout.head_dim;
    for (int32_t i = 0; i < count; i++) {
        float highest;
        job->quantize->magnitudes(rows.type, row_of(&rows, i), dim, dim, &highest);
        if (!(highest <= FLT_MAX))
            return 0;
    }
    return 1;
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
    int32_t finite = 1;
    for (int64_t head = 0; head < job->cache->layout.kv_heads && finite; head++)
        finite = rows_finite(job, prepare_keys(job, run, head, &floats), run->count) &&
                 rows_finite(job, value_rows(job, run->row, head), run->count);
    return finite;
}

/* `head` is a head of a page, `at` a multiple of 16: a token of the page. */
static krn_kv_block block_of(unsigned char *codes, unsigned char *section, int64_t page_tokens, int64_t at) {
    return (krn_kv_block){
        .codes = codes,
        .scales = (float *)(void *)section + at,
        .zero_points = section + page_tokens * (int64_t)sizeof(float) + at,
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

static int32_t store_run(const krn_kv_append_job *job, const token_run *run) {
    krn_kv_cache *cache = job->cache;
    const krn_kv_layout *layout = &cache->layout;
    const int32_t page = krn_kv_table_of(cache, job->sequences[run->entry])[run->token / layout->page_tokens];
    const int32_t first = (int32_t)(run->token % KRN_KV_BLOCK);
    const int64_t at = run->token % layout->page_tokens - first, block = at / KRN_KV_BLOCK;
    block_floats floats;
    int32_t finite = 1;
    for (int64_t h = 0; h < layout->kv_heads; h++) {
        unsigned char *head = krn_kv_head(cache, page, h);
        if (cache->keys.granularity != KRN_KV_CHANNEL) {
            const krn_kv_encoding keys = encoding_of(job, &cache->keys, h);
            finite &= job->kernels->store_keys(&keys, prepare_keys(job, run, h, &floats), first, run->count,
                                               block_of(head + block * layout->key_block_bytes,
                                                        head + layout->key_scales_at, layout->page_tokens, at));
        }
        const krn_kv_encoding values = encoding_of(job, &cache->values, h);
        finite &= job->kernels->store_values(&values, value_rows(job, run->row, h), first, run->count,
                                             block_of(head + layout->value_codes_at + block * layout->value_block_bytes,
                                                      head + layout->value_scales_at, layout->page_tokens, at));
    }
    return finite;
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
static void store_piece(void *task_context, int64_t index) { for_blocks(task_context, index, store_run); }

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
        float row[KRN_KV_MAX_HEAD_DIM];
        krn_widen(row, rows.type, row_of(&rows, i), 0, dim);
        for (int32_t c = 0; c < dim; c++)
            mean[c] = mean[c] + row[c];
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
        finite &= job->kernels->store_keys(&floats, prepare_keys(job, &run, h, &prepared), first, run.count,
                                           (krn_kv_block){.codes = (unsigned char *)block});
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
    return krn_fail(KRN_ERROR_NON_FINITE, "keys become infinite when they are centred or rotated");
}
