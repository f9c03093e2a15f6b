/* The making and the end of a cache. */
#include "kv_cache/kv_cache_state.h"

#include "common/status.h"
#include "kv_cache/kv_memory.h"

#include <stdlib.h>
#include <string.h>

/* What options of quantize.h a type of codes stands for, by token. */
static krn_quantize_scheme scheme_of(int32_t type) {
    const krn_quantize_options options = {
        .struct_size = sizeof options,
        .type = type == KRN_TYPE_F8E4M3 ? KRN_TYPE_S8 : type,
        .granularity = KRN_GRANULARITY_TOKEN,
        .asymmetric = type == KRN_TYPE_U4,
    };
    krn_quantize_scheme scheme = krn_quantize_scheme_of(&options);
    /* The largest FP8: what max|x| is divided by. */
    if (type == KRN_TYPE_F8E4M3)
        scheme.steps = 448;
    return scheme;
}

static krn_kv_format format_of(int32_t type, int32_t granularity) {
    krn_kv_format format = {.type = type, .granularity = granularity};
    if (krn_kv_bits(type) <= 8)
        format.scheme = scheme_of(type);
    /* A scale that does not come from the values themselves clips. */
    if (granularity == KRN_KV_STATIC)
        format.scheme.is_unclipped = 0;
    return format;
}

static void copy_static(krn_kv_format *format, int32_t heads, const float *scales, const int32_t *zero_points) {
    if (format->granularity != KRN_KV_STATIC)
        return;
    memcpy(format->static_scales, scales, (size_t)heads * sizeof *scales);
    for (int32_t head = 0; head < heads; head++)
        format->static_zero_points[head] = zero_points != NULL ? zero_points[head] : 8;
}

static krn_status plan_rotation(const krn_kv_cache_desc *desc, int32_t inverse, krn_hadamard_plan *plan) {
    const krn_hadamard_options options = {
        .struct_size = sizeof options, .normalized = 1, .n = desc->head_dim, .inverse = inverse};
    return desc->rotate_keys ? krn_hadamard_make_plan(&options, plan) : KRN_OK;
}

/* Takes the next `count` elements of `size` bytes of the tables. */
static void *take(unsigned char **cursor, int64_t count, int64_t size) {
    void *taken = *cursor;
    *cursor += count * size;
    return taken;
}

static void place(krn_kv_cache *cache, unsigned char *memory, const krn_kv_parts *parts) {
    const int64_t sequences = cache->desc.sequences, pages = cache->desc.pages, heads = cache->desc.kv_heads;
    cache->memory = memory;
    cache->pool = memory;
    cache->tails = memory + parts->tails;
    cache->means = (float *)(void *)(memory + parts->means);
    unsigned char *cursor = memory + parts->tables;
    memset(cursor, 0, (size_t)parts->table_bytes);
    memset(cache->means, 0, (size_t)(sequences * cache->layout.mean_bytes));
    cache->lengths = take(&cursor, sequences, sizeof(int64_t));
    cache->starts = take(&cursor, sequences + 1, sizeof(int64_t));
    cache->rows = take(&cursor, sequences, sizeof(int64_t));
    cache->table_counts = take(&cursor, sequences, sizeof(int32_t));
    cache->mean_is_set = take(&cursor, sequences, sizeof(int32_t));
    cache->sequence_marks = take(&cursor, sequences, sizeof(int32_t));
    cache->replaced = take(&cursor, sequences, sizeof(int32_t));
    cache->tables = take(&cursor, sequences * cache->layout.table_pages, sizeof(int32_t));
    cache->sequence_references = take(&cursor, pages, sizeof(int32_t));
    cache->host_references = take(&cursor, pages, sizeof(int32_t));
    cache->filled = take(&cursor, pages, sizeof(int32_t));
    cache->free_pages = take(&cursor, pages, sizeof(int32_t));
    cache->page_marks = take(&cursor, pages, sizeof(int32_t));
    cache->keys.static_scales = take(&cursor, heads, sizeof(float));
    cache->values.static_scales = take(&cursor, heads, sizeof(float));
    cache->keys.static_zero_points = take(&cursor, heads, sizeof(int32_t));
    cache->values.static_zero_points = take(&cursor, heads, sizeof(int32_t));
}

static krn_status check_memory(const void *memory, int64_t memory_bytes, int64_t needed) {
    if (memory == NULL)
        return KRN_OK;
    if ((uintptr_t)memory % 64 != 0)
        return krn_fail(KRN_ERROR_ALIGNMENT, "memory is not aligned to 64 bytes");
    if (memory_bytes < needed)
        return krn_fail(KRN_ERROR_BUFFER_TOO_SMALL, "memory_bytes is %lld, the cache takes %lld",
                        (long long)memory_bytes, (long long)needed);
    return KRN_OK;
}

krn_status krn_kv_cache_create(const krn_kv_cache_desc *desc, void *memory, int64_t memory_bytes,
                               krn_kv_cache **cache) {
    krn_status status = krn_kv_check_desc(desc, 1);
    if (status != KRN_OK)
        return status;
    const krn_kv_layout layout = krn_kv_layout_of(desc);
    const krn_kv_parts parts = krn_kv_parts_of(desc, &layout);
    status = check_memory(memory, memory_bytes, parts.total);
    if (status != KRN_OK)
        return status;
    if (cache == NULL)
        return krn_fail(KRN_ERROR_NULL_ARGUMENT, "cache is NULL");
    krn_hadamard_plan rotation = {0}, inverse_rotation = {0};
    status = plan_rotation(desc, 0, &rotation);
    if (status == KRN_OK)
        status = plan_rotation(desc, 1, &inverse_rotation);
    if (status != KRN_OK)
        return status;
    krn_kv_cache *made = calloc(1, sizeof *made);
    if (made == NULL)
        return krn_fail(KRN_ERROR_OUT_OF_MEMORY, "could not allocate %lld bytes", (long long)sizeof *made);
    if (memory == NULL) {
        status = krn_memory_allocate(parts.total, &made->owned);
        if (status != KRN_OK) {
            free(made);
            return status;
        }
        memory = made->owned;
    }
    made->desc = *desc;
    made->desc.pages = krn_kv_pages(desc, &layout);
    made->desc.key_scales = made->desc.value_scales = NULL;
    made->desc.key_zero_points = made->desc.value_zero_points = NULL;
    made->layout = layout;
    made->keys = format_of(desc->key_type, desc->key_granularity);
    made->values = format_of(desc->value_type, desc->value_granularity);
    made->rotation = rotation;
    made->inverse_rotation = inverse_rotation;
    place(made, memory, &parts);
    copy_static(&made->keys, desc->kv_heads, desc->key_scales, desc->key_zero_points);
    copy_static(&made->values, desc->kv_heads, desc->value_scales, desc->value_zero_points);
    /* The lowest page is taken first. */
    made->free_count = made->desc.pages;
    for (int64_t i = 0; i < made->free_count; i++)
        made->free_pages[i] = (int32_t)(made->free_count - 1 - i);
    *cache = made;
    return KRN_OK;
}

void krn_kv_cache_destroy(krn_kv_cache *cache) {
    if (cache == NULL)
        return;
    krn_memory_free(cache->owned);
    free(cache);
}
