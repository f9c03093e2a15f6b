/* The door of krn_kv_cache_append: checks, pages, and taking them back when a token is not finite. */
#include "kv_cache/kv_append.h"

#include "common/context.h"
#include "common/status.h"
#include "kv_cache/kv_pages.h"

#include <stddef.h>

#define ADDRESS(variant) &variant,
static const krn_kv_kernels *const variants[] = {KRN_KV_CACHE_VARIANTS(ADDRESS)};
#undef ADDRESS

const krn_kv_kernels *krn_kv_kernels_of(const krn_context *context) {
    const krn_kv_kernels *const *variant = variants;
    /* The reference is last and needs no features. */
    while (((*variant)->features & ~context->features) != 0)
        variant++;
    return *variant;
}

const char *krn_kv_cache_variant(const krn_context *context) {
    return context == NULL ? NULL : krn_kv_kernels_of(context)->name;
}

static krn_status check_options(const krn_kv_append_options *options) {
    if (options == NULL)
        return krn_fail(KRN_ERROR_NULL_ARGUMENT, "options is NULL");
    if (options->struct_size != sizeof *options)
        return krn_fail(KRN_ERROR_STRUCT_SIZE, "options->struct_size is %u, this library knows %u",
                        options->struct_size, (unsigned)sizeof *options);
    const int32_t type = options->source_type;
    if (type != KRN_TYPE_F32 && type != KRN_TYPE_F16 && type != KRN_TYPE_BF16)
        return krn_fail(KRN_ERROR_INVALID_ARGUMENT,
                        "options->source_type is %d, not one of KRN_TYPE_F32, _F16 and _BF16", type);
    return KRN_OK;
}

static krn_status check_source(const char *name, const void *source, int64_t ld, int64_t rows, int64_t width,
                               int64_t element_bytes) {
    if (ld < width)
        return krn_fail(KRN_ERROR_LEADING_DIMENSION, "options->%s_ld is %lld, but a token takes %lld", name,
                        (long long)ld, (long long)width);
    if (rows == 0)
        return KRN_OK;
    if (ld > INT64_MAX / element_bytes / rows)
        return krn_fail(KRN_ERROR_LEADING_DIMENSION, "options->%s_ld is %lld, too large for %lld tokens", name,
                        (long long)ld, (long long)rows);
    if (source == NULL)
        return krn_fail(KRN_ERROR_NULL_ARGUMENT, "%ss is NULL", name);
    if ((uintptr_t)source % (uintptr_t)element_bytes != 0)
        return krn_fail(KRN_ERROR_ALIGNMENT, "%ss is not aligned to its elements of %lld bytes", name,
                        (long long)element_bytes);
    return KRN_OK;
}

static krn_status check_entry(const krn_kv_cache *cache, int64_t i, int32_t sequence, int64_t tokens) {
    if (sequence < 0 || sequence >= cache->desc.sequences)
        return krn_fail(KRN_ERROR_INVALID_ARGUMENT, "sequences[%lld] is %d, not in 0..%d", (long long)i, sequence,
                        cache->desc.sequences - 1);
    if (cache->sequence_marks[sequence] != 0)
        return krn_fail(KRN_ERROR_INVALID_ARGUMENT, "sequences[%lld] is %d, which occurs twice", (long long)i,
                        sequence);
    if (tokens < 0)
        return krn_fail(KRN_ERROR_SHAPE, "tokens[%lld] is %lld, must not be negative", (long long)i, (long long)tokens);
    if (tokens > cache->desc.max_tokens - cache->lengths[sequence])
        return krn_fail(KRN_ERROR_SHAPE, "tokens[%lld] is %lld, but sequence %d has %lld of at most %lld tokens",
                        (long long)i, (long long)tokens, sequence, (long long)cache->lengths[sequence],
                        (long long)cache->desc.max_tokens);
    return KRN_OK;
}

static krn_status check_batch(krn_kv_cache *cache, int64_t count, const int32_t *sequences, const int64_t *tokens) {
    if (count < 0 || count > cache->desc.sequences)
        return krn_fail(KRN_ERROR_INVALID_ARGUMENT, "count is %lld, not in 0..%d", (long long)count,
                        cache->desc.sequences);
    if (count > 0 && (sequences == NULL || tokens == NULL))
        return krn_fail(KRN_ERROR_NULL_ARGUMENT, "%s is NULL", sequences == NULL ? "sequences" : "tokens");
    krn_status status = KRN_OK;
    int64_t marked = 0;
    while (marked < count && status == KRN_OK) {
        status = check_entry(cache, marked, sequences[marked], tokens[marked]);
        if (status == KRN_OK)
            cache->sequence_marks[sequences[marked++]] = 1;
    }
    for (int64_t i = 0; i < marked; i++)
        cache->sequence_marks[sequences[i]] = 0;
    return status;
}

static krn_status check_rope(const krn_kv_cache *cache, int64_t count, const int32_t *sequences, const int64_t *tokens,
                             int64_t rows, const krn_kv_append_options *options) {
    const int64_t first = options->first_position, positions = options->position_count;
    if (options->rope == NULL)
        return KRN_OK;
    krn_status status = krn_rope_check_options(options->rope);
    if (status == KRN_OK && options->rope->head_dim != cache->layout.head_dim)
        status = krn_fail(KRN_ERROR_SHAPE, "options->rope->head_dim is %lld, but the cache's is %d",
                          (long long)options->rope->head_dim, cache->layout.head_dim);
    if (status == KRN_OK && (first < 0 || positions < 0 || first > KRN_ROPE_MAX_POSITIONS - positions))
        status = krn_fail(KRN_ERROR_INVALID_ARGUMENT,
                          "options->first_position is %lld and position_count %lld, not in 0..%d", (long long)first,
                          (long long)positions, KRN_ROPE_MAX_POSITIONS);
    if (status != KRN_OK || rows == 0)
        return status;
    if (options->cos_sin == NULL)
        return krn_fail(KRN_ERROR_NULL_ARGUMENT, "options->cos_sin is NULL");
    if ((uintptr_t)options->cos_sin % sizeof(float) != 0)
        return krn_fail(KRN_ERROR_ALIGNMENT, "options->cos_sin is not aligned to its elements of 4 bytes");
    if (options->positions != NULL)
        return krn_rope_check_positions(rows, options->positions, first, positions);
    for (int64_t i = 0; i < count; i++) {
        const int64_t length = cache->lengths[sequences[i]];
        if (tokens[i] > 0 && (length < first || length + tokens[i] > first + positions))
            return krn_fail(KRN_ERROR_INVALID_ARGUMENT,
                            "tokens %lld to %lld of sequence %d are not in options->cos_sin, which has positions %lld "
                            "to %lld",
                            (long long)length, (long long)(length + tokens[i] - 1), sequences[i], (long long)first,
                            (long long)(first + positions - 1));
    }
    return KRN_OK;
}

/* The first row and block of every entry; returns the number of rows. */
static int64_t index_batch(krn_kv_cache *cache, int64_t count, const int32_t *sequences, const int64_t *tokens) {
    int64_t rows = 0, blocks = 0;
    for (int64_t i = 0; i < count; i++) {
        const int64_t length = cache->lengths[sequences[i]];
        cache->rows[i] = rows;
        cache->starts[i] = blocks;
        rows += tokens[i];
        if (tokens[i] > 0)
            blocks += (length + tokens[i] - 1) / KRN_KV_BLOCK - length / KRN_KV_BLOCK + 1;
    }
    cache->starts[count] = blocks;
    return rows;
}

/* Pages of a long sequence are in no cache when they are written, and a line that is written whole past the caches need
 * not be read first (measured on Zen 5: a quarter of the time for 512 tokens of 8 heads of 128). What a few tokens
 * write stays in the caches for the attention that reads it next: this is a second-level cache of keys and values. */
enum { STREAM_BYTES = 1 << 20 };

/* Pages. */

static int64_t pages_with(const krn_kv_cache *cache, int32_t sequence, int64_t tokens) {
    return (cache->lengths[sequence] + tokens + cache->layout.page_tokens - 1) / cache->layout.page_tokens;
}

/* The page of a sequence that is written next and holds tokens of it already; -1 for none. No other page of a sequence
 * that is to be written is ever shared. */
static int32_t begun_page(const krn_kv_cache *cache, int32_t sequence) {
    const int64_t length = cache->lengths[sequence], page_tokens = cache->layout.page_tokens;
    return length % page_tokens == 0 ? -1 : krn_kv_table_of(cache, sequence)[length / page_tokens];
}

/* *last_stays is set when entries give up a page and another, the last to have it, writes to it: that cannot be
 * undone. */
static krn_status check_free_pages(krn_kv_cache *cache, int64_t count, const int32_t *sequences, const int64_t *tokens,
                                   int *last_stays) {
    int64_t needed = 0;
    /* A mark is a reference that a copy will give up. */
    for (int64_t i = 0; i < count; i++) {
        if (tokens[i] == 0)
            continue;
        const int64_t pages = pages_with(cache, sequences[i], tokens[i]);
        const int32_t begun = begun_page(cache, sequences[i]);
        needed += pages > cache->table_counts[sequences[i]] ? pages - cache->table_counts[sequences[i]] : 0;
        if (begun >= 0 && cache->sequence_references[begun] - cache->page_marks[begun] > 1) {
            cache->page_marks[begun]++;
            needed++;
        } else if (begun >= 0 && cache->page_marks[begun] > 0) {
            *last_stays = 1;
        }
    }
    for (int64_t i = 0; i < count; i++) {
        const int32_t begun = begun_page(cache, sequences[i]);
        if (begun >= 0)
            cache->page_marks[begun] = 0;
    }
    if (needed > cache->free_count)
        return krn_fail(KRN_ERROR_OUT_OF_PAGES, "the tokens need %lld more pages, but %lld are free", (long long)needed,
                        (long long)cache->free_count);
    return KRN_OK;
}

static void take_pages(krn_kv_cache *cache, int64_t count, const int32_t *sequences, const int64_t *tokens) {
    for (int64_t i = 0; i < count; i++) {
        const int32_t sequence = sequences[i];
        int32_t *table = krn_kv_table_of(cache, sequence);
        const int64_t page_tokens = cache->layout.page_tokens, length = cache->lengths[sequence];
        const int32_t begun = tokens[i] > 0 ? begun_page(cache, sequence) : -1;
        cache->replaced[i] = -1;
        if (begun >= 0 && cache->sequence_references[begun] > 1) {
            const int32_t copy = krn_kv_take_page(cache);
            krn_kv_copy_page(cache, begun, copy, length % page_tokens);
            krn_kv_drop_page(cache, begun);
            table[length / page_tokens] = copy;
            cache->replaced[i] = begun;
        }
        const int64_t pages = pages_with(cache, sequence, tokens[i]);
        for (int64_t p = cache->table_counts[sequence]; p < pages; p++)
            table[p] = krn_kv_take_page(cache);
    }
}

/* The inverse, last page first, so that the pool is what it was. */
static void give_back_pages(krn_kv_cache *cache, int64_t count, const int32_t *sequences, const int64_t *tokens) {
    for (int64_t i = count - 1; i >= 0; i--) {
        const int32_t sequence = sequences[i];
        int32_t *table = krn_kv_table_of(cache, sequence);
        for (int64_t p = pages_with(cache, sequence, tokens[i]); p > cache->table_counts[sequence]; p--)
            krn_kv_drop_page(cache, table[p - 1]);
        if (cache->replaced[i] >= 0) {
            int32_t *entry = table + cache->lengths[sequence] / cache->layout.page_tokens;
            krn_kv_drop_page(cache, *entry);
            *entry = cache->replaced[i];
            cache->sequence_references[*entry]++;
        }
    }
}

static void commit(krn_kv_cache *cache, int64_t count, const int32_t *sequences, const int64_t *tokens) {
    const int64_t page_tokens = cache->layout.page_tokens;
    for (int64_t i = 0; i < count; i++) {
        if (tokens[i] == 0)
            continue;
        const int32_t sequence = sequences[i];
        const int32_t *table = krn_kv_table_of(cache, sequence);
        const int64_t first = cache->lengths[sequence] / page_tokens;
        const int64_t pages = pages_with(cache, sequence, tokens[i]);
        cache->lengths[sequence] += tokens[i];
        if (pages > cache->table_counts[sequence])
            cache->table_counts[sequence] = (int32_t)pages;
        /* Only these keys are in the pages. */
        const int64_t paged = krn_kv_paged_keys(cache, sequence);
        for (int64_t p = first; p < pages; p++) {
            const int64_t tokens_from = paged - p * page_tokens;
            cache->filled[table[p]] = (int32_t)(tokens_from < 0             ? 0
                                                : tokens_from < page_tokens ? tokens_from
                                                                            : page_tokens);
        }
    }
}

static krn_rope_heads rope_heads_of(const krn_rope_options *options) {
    if (options == NULL)
        return (krn_rope_heads){0};
    return (krn_rope_heads){.layout = options->layout,
                            .heads = 1,
                            .head_dim = options->head_dim,
                            .rotary_dim = krn_rope_rotary_dim(options)};
}

krn_status krn_kv_cache_append(krn_context *context, krn_kv_cache *cache, int64_t count, const int32_t *sequences,
                               const int64_t *tokens, const void *keys, const void *values,
                               const krn_kv_append_options *options) {
    if (context == NULL || cache == NULL)
        return krn_fail(KRN_ERROR_NULL_ARGUMENT, "%s is NULL", context == NULL ? "context" : "cache");
    krn_status status = check_options(options);
    if (status == KRN_OK)
        status = check_batch(cache, count, sequences, tokens);
    if (status != KRN_OK)
        return status;
    int must_scan = 0;
    const int64_t rows = index_batch(cache, count, sequences, tokens);
    const int64_t width = (int64_t)cache->layout.kv_heads * cache->layout.head_dim;
    const int64_t element_bytes = krn_element_bytes(options->source_type);
    status = check_source("key", keys, options->key_ld, rows, width, element_bytes);
    if (status == KRN_OK)
        status = check_source("value", values, options->value_ld, rows, width, element_bytes);
    if (status == KRN_OK)
        status = check_rope(cache, count, sequences, tokens, rows, options);
    if (status == KRN_OK)
        status = check_free_pages(cache, count, sequences, tokens, &must_scan);
    if (status != KRN_OK || rows == 0)
        return status;
    const krn_kv_append_job job = {
        .context = context,
        .cache = cache,
        .kernels = krn_kv_kernels_of(context),
        .quantize = krn_quantize_kernels_of(context),
        .hadamard = krn_hadamard_kernels_of(context),
        .rope = krn_rope_kernels_of(context),
        .count = count,
        .sequences = sequences,
        .tokens = tokens,
        .source_type = options->source_type,
        .keys = keys,
        .values = values,
        .key_ld_bytes = options->key_ld * element_bytes,
        .value_ld_bytes = options->value_ld * element_bytes,
        .rope_heads = rope_heads_of(options->rope),
        .cos_sin = options->cos_sin,
        .first_position = options->first_position,
        .positions = options->positions,
        .stream = rows * width * element_bytes * 2 > STREAM_BYTES,
        .scan_all = must_scan,
    };
    if (cache->desc.center_keys && !krn_kv_append_means(&job))
        return krn_kv_append_fail(&job);
    /* A group that is quantized leaves the tail, and that cannot be undone. */
    if ((must_scan || cache->keys.granularity == KRN_KV_CHANNEL) && !krn_kv_append_scan(&job))
        return krn_kv_append_fail(&job);
    take_pages(cache, count, sequences, tokens);
    if (!krn_kv_append_store(&job)) {
        give_back_pages(cache, count, sequences, tokens);
        return krn_kv_append_fail(&job);
    }
    commit(cache, count, sequences, tokens);
    return KRN_OK;
}
