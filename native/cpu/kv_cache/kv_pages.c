/* The pool of pages: who has them, and what becomes of them. */
#include "kv_cache/kv_pages.h"

#include "common/status.h"
#include "kv_cache/kv_place.h"

#include <string.h>

int32_t krn_kv_take_page(krn_kv_cache *cache) {
    const int32_t page = cache->free_pages[--cache->free_count];
    cache->sequence_references[page] = 1;
    cache->filled[page] = 0;
    return page;
}

static void free_unless_used(krn_kv_cache *cache, int32_t page) {
    if (cache->sequence_references[page] == 0 && cache->host_references[page] == 0)
        cache->free_pages[cache->free_count++] = page;
}

void krn_kv_drop_page(krn_kv_cache *cache, int32_t page) {
    cache->sequence_references[page]--;
    free_unless_used(cache, page);
}

void krn_kv_copy_page(krn_kv_cache *cache, int32_t from, int32_t to, int64_t tokens) {
    const krn_kv_layout *layout = &cache->layout;
    const int64_t blocks = (tokens + KRN_KV_BLOCK - 1) / KRN_KV_BLOCK;
    for (int64_t head = 0; head < layout->kv_heads; head++) {
        const unsigned char *source = krn_kv_head(cache, from, head);
        unsigned char *target = krn_kv_head(cache, to, head);
        memcpy(target, source, (size_t)(blocks * layout->key_block_bytes));
        memcpy(target + layout->key_scales_at, source + layout->key_scales_at, (size_t)layout->key_scale_bytes);
        memcpy(target + layout->value_codes_at, source + layout->value_codes_at,
               (size_t)(blocks * layout->value_block_bytes));
        memcpy(target + layout->value_scales_at, source + layout->value_scales_at, (size_t)layout->value_scale_bytes);
    }
    cache->filled[to] = (int32_t)tokens;
}

/* Keys of one head of one group to f32 blocks; behind the last token come zeros. */
static void dequantize_group(const krn_kv_cache *cache, const unsigned char *head, int64_t first, int64_t tokens,
                             float *tail) {
    const krn_kv_layout *layout = &cache->layout;
    const int32_t type = cache->keys.type, dim = layout->head_dim;
    const int64_t group = first / cache->desc.key_group, block_elems = (int64_t)dim * KRN_KV_BLOCK;
    const unsigned char *section = head + layout->key_scales_at + group * layout->key_group_bytes;
    const float *scales = (const float *)(const void *)section;
    const uint8_t *zero_points = section + dim * (int64_t)sizeof *scales;
    memset(tail, 0, (size_t)(cache->desc.key_group * dim) * sizeof *tail);
    for (int64_t t = 0; t < tokens; t++) {
        const int64_t token = t % KRN_KV_BLOCK;
        const unsigned char *codes = head + (first + t) / KRN_KV_BLOCK * layout->key_block_bytes;
        float *block = tail + t / KRN_KV_BLOCK * block_elems;
        for (int32_t c = 0; c < dim; c++) {
            const int32_t zero = type == KRN_TYPE_U4 ? zero_points[c] : krn_kv_key_flip(type);
            const int32_t code = krn_kv_bits(type) == 4 ? krn_kv_nibble(codes[krn_kv_key4_at(c, token)], c % 8 >= 4)
                                                        : codes[krn_kv_key8_at(c, token)];
            block[krn_kv_key32_at(c, token)] = (float)(code - zero) * scales[c];
        }
    }
}

void krn_kv_group_to_tail(krn_kv_cache *cache, const int32_t *table, int64_t start, int64_t tokens, int64_t sequence) {
    const int64_t page_tokens = cache->layout.page_tokens;
    for (int64_t head = 0; head < cache->layout.kv_heads; head++)
        dequantize_group(cache, krn_kv_head(cache, table[start / page_tokens], head), start % page_tokens, tokens,
                         krn_kv_tail(cache, sequence, head));
}

static krn_status check_pages(krn_kv_cache *cache, int64_t count, const int32_t *pages) {
    if (cache == NULL)
        return krn_fail(KRN_ERROR_NULL_ARGUMENT, "cache is NULL");
    if (count < 0 || count > cache->desc.pages)
        return krn_fail(KRN_ERROR_INVALID_ARGUMENT, "count is %lld, not in 0..%lld", (long long)count,
                        (long long)cache->desc.pages);
    if (pages == NULL && count > 0)
        return krn_fail(KRN_ERROR_NULL_ARGUMENT, "pages is NULL");
    return KRN_OK;
}

krn_status krn_kv_cache_take_pages(krn_kv_cache *cache, int64_t count, int32_t *pages) {
    const krn_status status = check_pages(cache, count, pages);
    if (status != KRN_OK)
        return status;
    if (count > cache->free_count)
        return krn_fail(KRN_ERROR_OUT_OF_PAGES, "count is %lld, but %lld pages are free", (long long)count,
                        (long long)cache->free_count);
    for (int64_t i = 0; i < count; i++) {
        pages[i] = krn_kv_take_page(cache);
        cache->sequence_references[pages[i]] = 0;
        cache->host_references[pages[i]] = 1;
    }
    return KRN_OK;
}

/* One entry of a list of pages that the host names; every page that was looked at is marked. */
static krn_status check_held(krn_kv_cache *cache, int64_t i, const int32_t *pages, int release) {
    const int32_t page = pages[i];
    if (page < 0 || page >= cache->desc.pages)
        return krn_fail(KRN_ERROR_INVALID_ARGUMENT, "pages[%lld] is %d, not in 0..%lld", (long long)i, page,
                        (long long)cache->desc.pages - 1);
    if (cache->page_marks[page] != 0)
        return krn_fail(KRN_ERROR_INVALID_ARGUMENT, "pages[%lld] is %d, which occurs twice", (long long)i, page);
    if (release && cache->host_references[page] == 0)
        return krn_fail(KRN_ERROR_INVALID_ARGUMENT, "pages[%lld] is %d, which the host does not hold", (long long)i,
                        page);
    if (cache->sequence_references[page] == 0 && cache->host_references[page] == 0)
        return krn_fail(KRN_ERROR_INVALID_ARGUMENT, "pages[%lld] is %d, which is free", (long long)i, page);
    if (!release && cache->host_references[page] == INT32_MAX)
        return krn_fail(KRN_ERROR_INVALID_ARGUMENT, "pages[%lld] is %d, which is held too often", (long long)i, page);
    cache->page_marks[page] = 1;
    return KRN_OK;
}

static krn_status change_holds(krn_kv_cache *cache, int64_t count, const int32_t *pages, int release) {
    krn_status status = check_pages(cache, count, pages);
    if (status != KRN_OK)
        return status;
    int64_t marked = 0;
    while (marked < count && status == KRN_OK) {
        status = check_held(cache, marked, pages, release);
        marked += status == KRN_OK;
    }
    for (int64_t i = 0; i < marked; i++)
        cache->page_marks[pages[i]] = 0;
    for (int64_t i = 0; i < count && status == KRN_OK; i++) {
        cache->host_references[pages[i]] += release ? -1 : 1;
        free_unless_used(cache, pages[i]);
    }
    return status;
}

krn_status krn_kv_cache_hold_pages(krn_kv_cache *cache, int64_t count, const int32_t *pages) {
    return change_holds(cache, count, pages, 0);
}

krn_status krn_kv_cache_release_pages(krn_kv_cache *cache, int64_t count, const int32_t *pages) {
    return change_holds(cache, count, pages, 1);
}

krn_status krn_kv_cache_page_references(const krn_kv_cache *cache, int64_t page, int32_t *sequences, int32_t *host) {
    if (cache == NULL || sequences == NULL || host == NULL)
        return krn_fail(KRN_ERROR_NULL_ARGUMENT, "%s is NULL",
                        cache == NULL       ? "cache"
                        : sequences == NULL ? "sequences"
                                            : "host");
    if (page < 0 || page >= cache->desc.pages)
        return krn_fail(KRN_ERROR_INVALID_ARGUMENT, "page is %lld, not in 0..%lld", (long long)page,
                        (long long)cache->desc.pages - 1);
    *sequences = cache->sequence_references[page];
    *host = cache->host_references[page];
    return KRN_OK;
}

krn_status krn_kv_cache_pages(const krn_kv_cache *cache, int64_t *pages, int64_t *free_pages) {
    if (cache == NULL || pages == NULL || free_pages == NULL)
        return krn_fail(KRN_ERROR_NULL_ARGUMENT, "%s is NULL",
                        cache == NULL   ? "cache"
                        : pages == NULL ? "pages"
                                        : "free_pages");
    *pages = cache->desc.pages;
    *free_pages = cache->free_count;
    return KRN_OK;
}
