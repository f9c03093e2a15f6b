/* The quantized KV cache: keys and values of past tokens, kept per layer in pages that sequences share.
 *
 * A cache belongs to one layer; a model makes one for each. It holds up to `sequences` sequences, numbered from 0, each
 * of up to max_tokens tokens. A token is kv_heads keys and kv_heads values of head_dim elements. Tokens are stored in
 * pages of page_tokens tokens of all heads; a sequence has a table of the pages that hold its tokens, in order. Pages
 * come from one pool, are counted, and may be shared: krn_kv_cache_fork gives a sequence the tokens of another without
 * copying them, and the first of the two to append into a shared page gets a copy of it. With page_tokens >= max_tokens
 * a sequence is one contiguous page.
 *
 * Formats, chosen for keys and for values apart. x is an element, x^ what the cache gives back for it:
 *
 *   type              scale per                arithmetic (quantize.h has the formulas and their roundings)
 *   KRN_TYPE_F32      -                        x^ = x
 *   KRN_TYPE_BF16     -                        to nearest even, no further than the largest finite value
 *   KRN_TYPE_S8       token and head           symmetric, Q = 127
 *   KRN_TYPE_S4       token and head           symmetric, Q = 7
 *   KRN_TYPE_U4       token and head           asymmetric: scale and zero point in 0..15
 *   KRN_TYPE_F8E4M3   token and head           scale = max|x| / 448; inv = 1 / scale; code = e4m3(x * inv);
 *                                              x^ = code * scale
 *
 * e4m3() rounds to nearest even, produces subnormals and saturates to 448. A scale below FLT_MIN counts as 0, as in
 * quantize.h. Instead of a scale per token and head (KRN_KV_TOKEN) an integer or FP8 format may have
 *
 *   KRN_KV_CHANNEL   keys only, not FP8: a scale (and zero point) per channel of a head within key_group tokens (KIVI, Liu
 *                    et al. 2024). Tokens 0..key_group-1 of a sequence are its first group, and so on. The keys of the
 *                    last, incomplete group wait in f32, in the "tail" of the sequence; with its last token a group is
 *                    quantized. A group that krn_kv_cache_truncate or krn_kv_cache_fork cuts returns to the tail as its
 *                    x^, and is quantized from these when it fills up again.
 *   KRN_KV_STATIC    a scale per head (and for KRN_TYPE_U4 a zero point), given when the cache is made. Values beyond the
 *                    range saturate: s8 to +-127, s4 to +-7, u4 to 0..15, FP8 to +-448.
 *
 * Keys can be changed on their way in, in binary32 and in this order. krn_kv_cache_read undoes the last two, and
 * attention.h takes account of them:
 *
 *   RoPE             with a table given to append, as in rope.h.
 *   center_keys      a vector per sequence and head is subtracted: k - mean, rounded once. Softmax does not feel it
 *                    (SageAttention, Zhang et al. 2024), and a channel with a large mean no longer spoils the scales of
 *                    its neighbours. It is set by krn_kv_cache_set_key_mean, or else taken by each append to an empty
 *                    sequence from the tokens appended: the sum over them in order, divided by their number.
 *   rotate_keys      a head is multiplied by the normalized Hadamard matrix of order head_dim (QuaRot, Ashkboos et al.
 *                    2024), which spreads outliers over all channels.
 *
 * Integer codes, scales, zero points and FP8 codes are the same bits for every variant and every thread count.
 *
 * Memory is one block, the caller's or the cache's own, whose exact size krn_kv_cache_bytes tells from the description
 * alone. No call allocates any. A cache serves one call that changes it at a time; calls that only read it (attention,
 * krn_kv_cache_read, _length, _table) may run concurrently with each other.
 */
#ifndef KERNELS_KV_CACHE_H
#define KERNELS_KV_CACHE_H

#include "kernels/hadamard.h"
#include "kernels/quantize.h"
#include "kernels/rope.h"

#ifdef __cplusplus
extern "C" {
#endif

/** Keys and values of one layer. Opaque. */
typedef struct krn_kv_cache krn_kv_cache;

/** Which elements of a head share a scale. The numbers are pinned. */
enum krn_kv_granularity {
    /** Those of one token. Also what KRN_TYPE_F32 and KRN_TYPE_BF16 take, which have no scales. */
    KRN_KV_TOKEN = 0,
    /** Those of one channel in key_group tokens; keys only. */
    KRN_KV_CHANNEL = 1,
    /** All of them. */
    KRN_KV_STATIC = 2,
};

/** Shape and format of a cache. */
typedef struct krn_kv_cache_desc {
    /** sizeof(krn_kv_cache_desc). */
    uint32_t struct_size;
    /** Sequences at most, 1 to 2^20. */
    int32_t sequences;
    /** Heads that keys and values have, 1 to 4096. */
    int32_t kv_heads;
    /** Elements of a head, a multiple of 8 in 8..512. */
    int32_t head_dim;
    /** Tokens of a sequence at most, 1 to 2^30. */
    int64_t max_tokens;
    /** Tokens of a page: 16, 32, 64 or 128; or any multiple of 16 that is at least max_tokens, at most 2^30 + 16. */
    int64_t page_tokens;
    /** Pages in the pool, 1 to 2^30. 0 means as many as all sequences need at their longest. */
    int64_t pages;
    /** KRN_TYPE_F32, _BF16, _S8, _S4, _U4 or _F8E4M3. */
    int32_t key_type;
    /** Likewise. */
    int32_t value_type;
    /** A krn_kv_granularity. */
    int32_t key_granularity;
    /** KRN_KV_TOKEN or KRN_KV_STATIC. */
    int32_t value_granularity;
    /** With KRN_KV_CHANNEL the tokens of a group: a multiple of 16 that divides page_tokens, at most 128. Else 0. */
    int32_t key_group;
    /** 1: keys are rotated; needs a Hadamard matrix of order head_dim. Else 0. */
    int32_t rotate_keys;
    /** 1: a mean is subtracted from keys. Else 0. */
    int32_t center_keys;
    /** Must be 0. */
    int32_t reserved;
    /** With KRN_KV_STATIC kv_heads scales, finite and at least FLT_MIN; copied. NULL otherwise, and for
     *  krn_kv_cache_bytes, which reads neither these nor the zero points. */
    const float *key_scales;
    /** Likewise for values. */
    const float *value_scales;
    /** KRN_TYPE_U4 with KRN_KV_STATIC: kv_heads zero points in 0..15, copied; NULL means 8. NULL otherwise. */
    const int32_t *key_zero_points;
    /** Likewise for values. */
    const int32_t *value_zero_points;
} krn_kv_cache_desc;

/** Where the bytes of a cache go. */
typedef struct krn_kv_cache_sizes {
    /** sizeof(krn_kv_cache_sizes), set by the caller. */
    uint32_t struct_size;
    /** Must be 0. */
    int32_t reserved;
    /** Codes (or floats) of all pages. */
    int64_t key_codes;
    /** Values have their head_dim rounded up to 16. */
    int64_t value_codes;
    /** Scales and zero points of all pages. */
    int64_t key_scales;
    /** Likewise. */
    int64_t value_scales;
    /** The last, incomplete groups of keys (KRN_KV_CHANNEL): key_group tokens in f32 per sequence. */
    int64_t tails;
    /** Means of keys (center_keys). */
    int64_t means;
    /** Page tables, lengths, counts of references, static scales. */
    int64_t tables;
    /** What rounds parts up to 64 bytes. */
    int64_t padding;
    /** The sum of the above: what krn_kv_cache_create takes. */
    int64_t total;
} krn_kv_cache_sizes;

/** How krn_kv_cache_append finds its tokens. */
typedef struct krn_kv_append_options {
    /** sizeof(krn_kv_append_options). */
    uint32_t struct_size;
    /** KRN_TYPE_F32, KRN_TYPE_F16 or KRN_TYPE_BF16: of keys and values. */
    int32_t source_type;
    /** Elements from a token's keys to those of the next, at least kv_heads * head_dim; its heads follow each other. */
    int64_t key_ld;
    /** Likewise for values. */
    int64_t value_ld;
    /** How keys are rotated by their positions (rope.h), of this head_dim; NULL for keys that are so already, or never.
     *  What follows is read only with it. */
    const krn_rope_options *rope;
    /** A table of krn_rope_table. */
    const float *cos_sin;
    /** Of the table's first row. */
    int64_t first_position;
    /** Rows of the table. */
    int64_t position_count;
    /** The position of every token; NULL when that is its number in its sequence, from 0. */
    const int32_t *positions;
} krn_kv_append_options;

/** The memory that a cache takes. Errors: those of the description. */
KRN_API krn_status krn_kv_cache_bytes(const krn_kv_cache_desc *desc, krn_kv_cache_sizes *sizes);

/** Makes a cache of empty sequences.
 *  memory          krn_kv_cache_bytes() bytes, aligned to 64, with any content; or NULL, and the cache allocates them
 *  memory_bytes    of `memory`; not read when that is NULL
 *  Errors: KRN_ERROR_INVALID_ARGUMENT, KRN_ERROR_STRUCT_SIZE, KRN_ERROR_SHAPE, KRN_ERROR_NON_FINITE (a scale),
 *  KRN_ERROR_UNSUPPORTED (no Hadamard matrix), KRN_ERROR_BUFFER_TOO_SMALL, KRN_ERROR_ALIGNMENT,
 *  KRN_ERROR_OUT_OF_MEMORY. */
KRN_API krn_status krn_kv_cache_create(const krn_kv_cache_desc *desc, void *memory, int64_t memory_bytes,
                                       krn_kv_cache **cache);

/** Frees a cache, and its memory unless that is the caller's. NULL is fine. */
KRN_API void krn_kv_cache_destroy(krn_kv_cache *cache);

/** Quantizes tokens to the ends of `count` sequences, tokens[i] >= 0 of them to sequences[i]. No sequence may occur
 *  twice. keys and values hold the tokens of sequences[0], then those of sequences[1] and so on, row after row:
 *  [sum of tokens][kv_heads][head_dim] with the leading dimensions of the options. Pages are taken from the pool as
 *  they are needed, after those that krn_kv_cache_set_table left for it.
 *  Errors: KRN_ERROR_NON_FINITE (a key or value that is, or becomes on its way in, NaN or infinite), KRN_ERROR_SHAPE (a
 *  sequence would exceed max_tokens, rope is of another head_dim), KRN_ERROR_OUT_OF_PAGES, and those of the arguments;
 *  then no sequence has changed. */
KRN_API krn_status krn_kv_cache_append(krn_context *context, krn_kv_cache *cache, int64_t count,
                                       const int32_t *sequences, const int64_t *tokens, const void *keys,
                                       const void *values, const krn_kv_append_options *options);

/** Dequantizes tokens first..first+count-1 of a sequence to [count][kv_heads][head_dim] of f32, f16 or bf16
 *  (`target_type`), with `key_ld` and `value_ld` elements from token to token, at least kv_heads * head_dim. Either of
 *  keys and values may be NULL. Keys come rotated back and with their mean: x^ = R^T y^ + mean, in binary32, the
 *  rotation as in hadamard.h.
 *  Errors: KRN_ERROR_SHAPE (tokens that the sequence does not have) and those of the arguments. */
KRN_API krn_status krn_kv_cache_read(krn_context *context, const krn_kv_cache *cache, int32_t sequence, int64_t first,
                                     int64_t count, int32_t target_type, void *keys, int64_t key_ld, void *values,
                                     int64_t value_ld);

/** The number of tokens of a sequence. */
KRN_API krn_status krn_kv_cache_length(const krn_kv_cache *cache, int32_t sequence, int64_t *length);

/** Shortens a sequence to `length` tokens, no more than it has, and lets go of the pages behind them. */
KRN_API krn_status krn_kv_cache_truncate(krn_kv_cache *cache, int32_t sequence, int64_t length);

/** Empties a sequence: no tokens, no pages, no mean set. */
KRN_API krn_status krn_kv_cache_reset(krn_kv_cache *cache, int32_t sequence);

/** Makes `target`, a sequence of no tokens and no pages, the first `length` tokens of `source`, in shared pages. Its
 *  mean and the keys of an incomplete group are copied. The sequences are independent afterwards. */
KRN_API krn_status krn_kv_cache_fork(krn_kv_cache *cache, int32_t source, int64_t length, int32_t target);

/** The page table of a sequence. `pages` has room for `capacity` of them, or is NULL, and then only *count is written.
 *  Errors: KRN_ERROR_BUFFER_TOO_SMALL and those of the arguments. */
KRN_API krn_status krn_kv_cache_table(const krn_kv_cache *cache, int32_t sequence, int64_t capacity, int32_t *pages,
                                      int64_t *count);

/** Gives a sequence a page table that a host's scheduler made, and `length` tokens that these pages hold. Pages behind
 *  them are for coming tokens. The sequence lets go of its former pages. Its mean stays as it is: with center_keys, set
 *  that of the keys in the pages first.
 *  Errors, each of which names the entry: KRN_ERROR_INVALID_ARGUMENT (a page outside the pool; one that occurs twice;
 *  one that is free: neither in a sequence nor held by the host; one behind `length` tokens that another sequence has),
 *  KRN_ERROR_SHAPE (a page that holds fewer tokens than `length` asks of it; more tokens than max_tokens or than the
 *  pages hold; more pages than max_tokens need; with KRN_KV_CHANNEL a length that is no multiple of key_group). */
KRN_API krn_status krn_kv_cache_set_table(krn_kv_cache *cache, int32_t sequence, int64_t count, const int32_t *pages,
                                          int64_t length);

/** Takes `count` free pages, held by the host: they return to the pool once the host has released them and no sequence
 *  has them. Holding keeps a page from being reused, not from being appended to by the one sequence that has it.
 *  Errors: KRN_ERROR_OUT_OF_PAGES and those of the arguments. */
KRN_API krn_status krn_kv_cache_take_pages(krn_kv_cache *cache, int64_t count, int32_t *pages);

/** Holds pages that are not free, once more each.
 *  Errors: KRN_ERROR_INVALID_ARGUMENT (a page outside the pool, one that is free or occurs twice). */
KRN_API krn_status krn_kv_cache_hold_pages(krn_kv_cache *cache, int64_t count, const int32_t *pages);

/** Undoes one hold of every page.
 *  Errors: KRN_ERROR_INVALID_ARGUMENT (a page outside the pool, one that the host does not hold or that occurs
 *  twice). */
KRN_API krn_status krn_kv_cache_release_pages(krn_kv_cache *cache, int64_t count, const int32_t *pages);

/** How many sequences have a page, and how often the host holds it; both 0 for a free page. */
KRN_API krn_status krn_kv_cache_page_references(const krn_kv_cache *cache, int64_t page, int32_t *sequences,
                                                int32_t *host);

/** Pages in the pool, and those of them that are free. */
KRN_API krn_status krn_kv_cache_pages(const krn_kv_cache *cache, int64_t *pages, int64_t *free_pages);

/** Sets the mean that is subtracted from the keys of a sequence of no tokens: kv_heads * head_dim finite floats; or
 *  with NULL lets the next append take it from its tokens again. Needs center_keys. */
KRN_API krn_status krn_kv_cache_set_key_mean(krn_kv_cache *cache, int32_t sequence, const float *mean);

/** The mean that is subtracted from the keys of a sequence: kv_heads * head_dim floats. Needs center_keys. */
KRN_API krn_status krn_kv_cache_key_mean(const krn_kv_cache *cache, int32_t sequence, float *mean);

/** Name of the variant that appends in this context, such as "avx512"; NULL for a NULL context. */
KRN_API const char *krn_kv_cache_variant(const krn_context *context);

#ifdef __cplusplus
}
#endif

#endif
