/* The inside of a cache, for the files of this folder and for attention. */
#ifndef KRN_KV_CACHE_STATE_H
#define KRN_KV_CACHE_STATE_H

#include "hadamard/hadamard_plan.h"
#include "kv_cache/kv_layout.h"
#include "quantize/quantize_rows.h"

/* What keys or values of a cache are quantized to. */
typedef struct krn_kv_format {
    int32_t type;
    int32_t granularity;
    /* Of an integer type, and for FP8 as much of it as krn_quantize_derive reads. */
    krn_quantize_scheme scheme;
    /* KRN_KV_STATIC: of every head; in the cache's memory. */
    float *static_scales;
    int32_t *static_zero_points;
} krn_kv_format;

struct krn_kv_cache {
    /* With its pointers NULL: what they pointed to was copied. */
    krn_kv_cache_desc desc;
    krn_kv_layout layout;
    krn_kv_format keys;
    krn_kv_format values;
    /* rotate_keys: of a head, and back. */
    krn_hadamard_plan rotation;
    krn_hadamard_plan inverse_rotation;
    /* The one block of memory, and what to free: NULL when it is the caller's. */
    unsigned char *memory;
    void *owned;
    unsigned char *pool;
    unsigned char *tails;
    float *means;
    /* By sequence. */
    int64_t *lengths;
    int32_t *table_counts;
    /* [sequences][table_pages]. */
    int32_t *tables;
    /* By sequence: whether krn_kv_cache_set_key_mean has set the mean. */
    int32_t *mean_is_set;
    /* By page: sequences that have it, holds of the host, tokens from its first on that it holds. */
    int32_t *sequence_references;
    int32_t *host_references;
    int32_t *filled;
    /* Pages that nobody has: a stack. */
    int32_t *free_pages;
    int64_t free_count;
    /* Scratch of one call, zero between calls: by page, and by sequence. */
    int32_t *page_marks;
    int32_t *sequence_marks;
    /* Scratch of append, by entry of a batch: the number of blocks that the entries before it touch (and behind the
     * last entry, that all touch), the first row of its tokens, and the page that a copy replaced, or -1. */
    int64_t *starts;
    int64_t *rows;
    int32_t *replaced;
};

KRN_ALWAYS_INLINE int32_t *krn_kv_table_of(const krn_kv_cache *cache, int64_t sequence) {
    return cache->tables + sequence * cache->layout.table_pages;
}

/* A head of a page: its key codes, and from there everything at the layout's offsets. */
KRN_ALWAYS_INLINE unsigned char *krn_kv_head(const krn_kv_cache *cache, int64_t page, int64_t head) {
    return cache->pool + page * cache->layout.page_bytes + head * cache->layout.head_bytes;
}

/* The f32 key blocks of an incomplete group. */
KRN_ALWAYS_INLINE float *krn_kv_tail(const krn_kv_cache *cache, int64_t sequence, int64_t head) {
    const int64_t head_bytes = cache->layout.tail_bytes / cache->layout.kv_heads;
    return (float *)(void *)(cache->tails + sequence * cache->layout.tail_bytes + head * head_bytes);
}

/* The head_dim floats that were subtracted from the keys of a head, before they were rotated. */
KRN_ALWAYS_INLINE float *krn_kv_mean(const krn_kv_cache *cache, int64_t sequence, int64_t head) {
    const krn_kv_layout *layout = &cache->layout;
    return cache->means + (sequence * layout->kv_heads + head) * layout->head_dim;
}

/* Tokens of a sequence whose keys are in its pages; those of the others are in the tail. */
KRN_ALWAYS_INLINE int64_t krn_kv_paged_keys(const krn_kv_cache *cache, int64_t sequence) {
    const int64_t length = cache->lengths[sequence];
    return cache->keys.granularity == KRN_KV_CHANNEL ? length - length % cache->desc.key_group : length;
}

/* KRN_ERROR_NULL_ARGUMENT or KRN_ERROR_INVALID_ARGUMENT unless there is such a sequence. */
krn_status krn_kv_check_sequence(const krn_kv_cache *cache, const char *name, int64_t sequence);

#endif
