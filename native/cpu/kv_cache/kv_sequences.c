/* Sequences and their page tables: everything that moves no token but in and out of an incomplete group. */
#include "kv_cache/kv_pages.h"

#include "common/status.h"

#include <math.h>
#include <string.h>

krn_status krn_kv_check_sequence(const krn_kv_cache *cache, const char *name, int64_t sequence) {
    if (cache == NULL)
        return krn_fail(KRN_ERROR_NULL_ARGUMENT, "cache is NULL");
    if (sequence < 0 || sequence >= cache->desc.sequences)
        return krn_fail(KRN_ERROR_INVALID_ARGUMENT, "%s is %lld, not in 0..%d", name, (long long)sequence,
                        cache->desc.sequences - 1);
    return KRN_OK;
}

krn_status krn_kv_cache_length(const krn_kv_cache *cache, int32_t sequence, int64_t *length) {
    const krn_status status = krn_kv_check_sequence(cache, "sequence", sequence);
    if (status != KRN_OK)
        return status;
    if (length == NULL)
        return krn_fail(KRN_ERROR_NULL_ARGUMENT, "length is NULL");
    *length = cache->lengths[sequence];
    return KRN_OK;
}

static krn_status check_length(const krn_kv_cache *cache, int32_t sequence, int64_t length) {
    if (length < 0 || length > cache->lengths[sequence])
        return krn_fail(KRN_ERROR_SHAPE, "length is %lld, but sequence %d has %lld tokens", (long long)length, sequence,
                        (long long)cache->lengths[sequence]);
    return KRN_OK;
}

/* Tokens of `length` that an incomplete group holds. */
static int64_t tail_tokens(const krn_kv_cache *cache, int64_t length) {
    return cache->keys.granularity == KRN_KV_CHANNEL ? length % cache->desc.key_group : 0;
}

/* Makes the tail of `target` that of the first `length` tokens of `source`, which has at least as many. */
static void cut_tail(krn_kv_cache *cache, int64_t source, int64_t length, int64_t target) {
    const int64_t tokens = tail_tokens(cache, length), start = length - tokens;
    if (tokens == 0)
        return;
    if (start < krn_kv_paged_keys(cache, source))
        krn_kv_group_to_tail(cache, krn_kv_table_of(cache, source), start, tokens, target);
    else if (source != target)
        memcpy(krn_kv_tail(cache, target, 0), krn_kv_tail(cache, source, 0), (size_t)cache->layout.tail_bytes);
}

static int64_t pages_of(const krn_kv_cache *cache, int64_t tokens) {
    return (tokens + cache->layout.page_tokens - 1) / cache->layout.page_tokens;
}

static void drop_pages(krn_kv_cache *cache, int32_t sequence, int64_t keep) {
    const int32_t *table = krn_kv_table_of(cache, sequence);
    while (cache->table_counts[sequence] > keep)
        krn_kv_drop_page(cache, table[--cache->table_counts[sequence]]);
}

krn_status krn_kv_cache_truncate(krn_kv_cache *cache, int32_t sequence, int64_t length) {
    krn_status status = krn_kv_check_sequence(cache, "sequence", sequence);
    if (status == KRN_OK)
        status = check_length(cache, sequence, length);
    if (status != KRN_OK)
        return status;
    cut_tail(cache, sequence, length, sequence);
    cache->lengths[sequence] = length;
    drop_pages(cache, sequence, pages_of(cache, length));
    return KRN_OK;
}

static int has_means(const krn_kv_cache *cache) { return cache->desc.center_keys != 0; }

krn_status krn_kv_cache_reset(krn_kv_cache *cache, int32_t sequence) {
    const krn_status status = krn_kv_check_sequence(cache, "sequence", sequence);
    if (status != KRN_OK)
        return status;
    cache->lengths[sequence] = 0;
    drop_pages(cache, sequence, 0);
    cache->mean_is_set[sequence] = 0;
    if (has_means(cache))
        memset(krn_kv_mean(cache, sequence, 0), 0, (size_t)cache->layout.mean_bytes);
    return KRN_OK;
}

krn_status krn_kv_cache_fork(krn_kv_cache *cache, int32_t source, int64_t length, int32_t target) {
    krn_status status = krn_kv_check_sequence(cache, "source", source);
    if (status == KRN_OK)
        status = krn_kv_check_sequence(cache, "target", target);
    if (status == KRN_OK)
        status = check_length(cache, source, length);
    if (status != KRN_OK)
        return status;
    if (source == target)
        return krn_fail(KRN_ERROR_INVALID_ARGUMENT, "target is %d, which is the source", target);
    if (cache->lengths[target] != 0 || cache->table_counts[target] != 0)
        return krn_fail(KRN_ERROR_INVALID_ARGUMENT, "target is %d, which has %lld tokens and %d pages; reset it first",
                        target, (long long)cache->lengths[target], cache->table_counts[target]);
    const int64_t count = pages_of(cache, length);
    const int32_t *from = krn_kv_table_of(cache, source);
    int32_t *to = krn_kv_table_of(cache, target);
    for (int64_t i = 0; i < count; i++) {
        to[i] = from[i];
        cache->sequence_references[to[i]]++;
    }
    cut_tail(cache, source, length, target);
    if (has_means(cache))
        memcpy(krn_kv_mean(cache, target, 0), krn_kv_mean(cache, source, 0), (size_t)cache->layout.mean_bytes);
    cache->mean_is_set[target] = cache->mean_is_set[source];
    cache->lengths[target] = length;
    cache->table_counts[target] = (int32_t)count;
    return KRN_OK;
}

krn_status krn_kv_cache_table(const krn_kv_cache *cache, int32_t sequence, int64_t capacity, int32_t *pages,
                              int64_t *count) {
    const krn_status status = krn_kv_check_sequence(cache, "sequence", sequence);
    if (status != KRN_OK)
        return status;
    if (count == NULL)
        return krn_fail(KRN_ERROR_NULL_ARGUMENT, "count is NULL");
    const int64_t has = cache->table_counts[sequence];
    if (pages != NULL && capacity < has)
        return krn_fail(KRN_ERROR_BUFFER_TOO_SMALL, "capacity is %lld, but sequence %d has %lld pages",
                        (long long)capacity, sequence, (long long)has);
    if (pages != NULL)
        memcpy(pages, krn_kv_table_of(cache, sequence), (size_t)has * sizeof *pages);
    *count = has;
    return KRN_OK;
}

/* What a page is to a table that is being checked. */
enum { MARK_NEW = 1, MARK_FORMER = 2 };

static krn_status check_entry(const krn_kv_cache *cache, int64_t i, int32_t page, int64_t length) {
    const int64_t page_tokens = cache->layout.page_tokens;
    if (page < 0 || page >= cache->desc.pages)
        return krn_fail(KRN_ERROR_INVALID_ARGUMENT, "pages[%lld] is %d, not in 0..%lld", (long long)i, page,
                        (long long)cache->desc.pages - 1);
    if (cache->page_marks[page] & MARK_NEW)
        return krn_fail(KRN_ERROR_INVALID_ARGUMENT, "pages[%lld] is %d, which occurs twice", (long long)i, page);
    if (cache->sequence_references[page] == 0 && cache->host_references[page] == 0)
        return krn_fail(KRN_ERROR_INVALID_ARGUMENT, "pages[%lld] is %d, which is free", (long long)i, page);
    const int64_t asked = length - i * page_tokens < page_tokens ? length - i * page_tokens : page_tokens;
    const int32_t others = cache->sequence_references[page] - ((cache->page_marks[page] & MARK_FORMER) != 0);
    if (asked <= 0 && others > 0)
        return krn_fail(KRN_ERROR_INVALID_ARGUMENT,
                        "pages[%lld] is %d, for tokens to come, but another sequence has it", (long long)i, page);
    if (asked > 0 && cache->filled[page] < asked)
        return krn_fail(KRN_ERROR_SHAPE, "pages[%lld] is %d, which holds %d tokens, but length asks %lld of it",
                        (long long)i, page, cache->filled[page], (long long)asked);
    return KRN_OK;
}

static krn_status check_table(const krn_kv_cache *cache, int64_t count, const int32_t *pages, int64_t length) {
    if (count < 0 || count > cache->layout.table_pages)
        return krn_fail(KRN_ERROR_SHAPE, "count is %lld, not in 0..%lld", (long long)count,
                        (long long)cache->layout.table_pages);
    if (pages == NULL && count > 0)
        return krn_fail(KRN_ERROR_NULL_ARGUMENT, "pages is NULL");
    if (length < 0 || length > cache->desc.max_tokens || length > count * cache->layout.page_tokens)
        return krn_fail(KRN_ERROR_SHAPE, "length is %lld, but %lld pages hold %lld and a sequence %lld tokens",
                        (long long)length, (long long)count, (long long)(count * cache->layout.page_tokens),
                        (long long)cache->desc.max_tokens);
    if (tail_tokens(cache, length) != 0)
        return krn_fail(KRN_ERROR_SHAPE, "length is %lld, not a multiple of key_group, which is %d", (long long)length,
                        cache->desc.key_group);
    return KRN_OK;
}

krn_status krn_kv_cache_set_table(krn_kv_cache *cache, int32_t sequence, int64_t count, const int32_t *pages,
                                  int64_t length) {
    krn_status status = krn_kv_check_sequence(cache, "sequence", sequence);
    if (status == KRN_OK)
        status = check_table(cache, count, pages, length);
    if (status != KRN_OK)
        return status;
    int32_t *table = krn_kv_table_of(cache, sequence);
    const int64_t former = cache->table_counts[sequence];
    for (int64_t i = 0; i < former; i++)
        cache->page_marks[table[i]] = MARK_FORMER;
    int64_t marked = 0;
    for (; marked < count && status == KRN_OK; marked += status == KRN_OK) {
        status = check_entry(cache, marked, pages[marked], length);
        if (status == KRN_OK)
            cache->page_marks[pages[marked]] |= MARK_NEW;
    }
    for (int64_t i = 0; i < former; i++)
        cache->page_marks[table[i]] = 0;
    for (int64_t i = 0; i < marked; i++)
        cache->page_marks[pages[i]] = 0;
    if (status != KRN_OK)
        return status;
    /* First the new ones, so that a page in both tables is never free. */
    for (int64_t i = 0; i < count; i++)
        cache->sequence_references[pages[i]]++;
    drop_pages(cache, sequence, 0);
    memcpy(table, pages, (size_t)count * sizeof *table);
    for (int64_t i = pages_of(cache, length); i < count; i++)
        cache->filled[table[i]] = 0;
    cache->table_counts[sequence] = (int32_t)count;
    cache->lengths[sequence] = length;
    return KRN_OK;
}

static krn_status check_mean(const krn_kv_cache *cache, int32_t sequence) {
    const krn_status status = krn_kv_check_sequence(cache, "sequence", sequence);
    if (status == KRN_OK && !has_means(cache))
        return krn_fail(KRN_ERROR_INVALID_ARGUMENT, "cache was made without center_keys");
    return status;
}

krn_status krn_kv_cache_set_key_mean(krn_kv_cache *cache, int32_t sequence, const float *mean) {
    const krn_status status = check_mean(cache, sequence);
    if (status != KRN_OK)
        return status;
    if (cache->lengths[sequence] != 0)
        return krn_fail(KRN_ERROR_INVALID_ARGUMENT, "sequence is %d, which has %lld tokens already", sequence,
                        (long long)cache->lengths[sequence]);
    const int64_t elems = (int64_t)cache->layout.kv_heads * cache->layout.head_dim;
    for (int64_t i = 0; mean != NULL && i < elems; i++)
        if (!isfinite(mean[i]))
            return krn_fail(KRN_ERROR_NON_FINITE, "mean[%lld] is NaN or infinite", (long long)i);
    cache->mean_is_set[sequence] = mean != NULL;
    if (mean != NULL)
        memcpy(krn_kv_mean(cache, sequence, 0), mean, (size_t)cache->layout.mean_bytes);
    return KRN_OK;
}

krn_status krn_kv_cache_key_mean(const krn_kv_cache *cache, int32_t sequence, float *mean) {
    const krn_status status = check_mean(cache, sequence);
    if (status != KRN_OK)
        return status;
    if (mean == NULL)
        return krn_fail(KRN_ERROR_NULL_ARGUMENT, "mean is NULL");
    /* What an earlier append took is no longer in force once the sequence is empty. */
    if (cache->lengths[sequence] == 0 && !cache->mean_is_set[sequence])
        memset(mean, 0, (size_t)cache->layout.mean_bytes);
    else
        memcpy(mean, krn_kv_mean(cache, sequence, 0), (size_t)cache->layout.mean_bytes);
    return KRN_OK;
}
