/* The quantized KV cache on a device: kernels/kv_cache.h, its formats and arithmetic, with pages in device memory.
 *
 * The pool has the pages that krn_kv_cache has, byte for byte: codes, scales and zero points are those of
 * krn_kv_cache_append, bit for bit, on every device, and a page may be copied between the two. Different from there:
 *
 *   - Which pages a sequence has is the caller's to say, in a page table in device memory: taking, counting, sharing and
 *     freeing pages is the work of a host's scheduler, and calls can be captured into a CUDA graph while tables change
 *     between replays. A sequence that forks shares pages by naming them in both tables; the one that appends into a
 *     page of another first copies it, krn_cuda_kv_cache_bytes() of a page, by krn_cuda_memory_copy_on_device. A
 *     sequence is truncated by its length alone.
 *   - Lengths are in device memory, and a length counts the tokens that are appended: append and attention of one
 *     forward pass take the same arrays. Row i of the n rows of an entry is token length - n + i.
 *   - NaN or infinity in keys or values, as they are stored, and in means set KRN_CUDA_FLAG_NON_FINITE. A token of a
 *     head that holds them, or a channel of a group, has a scale of NaN, where it has a scale.
 *   - A position that the table of RoPE lacks sets KRN_CUDA_FLAG_POSITIONS; the key is not rotated by it.
 *   - A page outside of the pool, a sequence outside of the cache, and a length that exceeds max_tokens or is less than
 *     the rows of the entry set KRN_CUDA_FLAG_PAGES; the tokens concerned are not stored.
 *   - Static scales and zero points, means of keys (center_keys) and tails (KRN_KV_CHANNEL) are in device memory, the
 *     latter two as the CPU's cache has them: means, tails, and the tokens of a page may go from one to the other. A
 *     sequence that forks copies its mean and its tail. With KRN_KV_CHANNEL it is truncated, or forked, only to a
 *     multiple of key_group, or within its last, incomplete group.
 *   - An append to a sequence that had no tokens takes its mean from them, unless mean_is_set says otherwise.
 *   - rotate_keys needs a head_dim whose Hadamard matrix is made of bases of orders that have at most 124^2 entries
 *     together: KRN_ERROR_UNSUPPORTED otherwise.
 *
 * Memory traffic: the tokens are read twice, the second time from a cache; pages are written once, and where a block of
 * 16 tokens is continued, its values are read first. Keys to which something is done are read once by a kernel of their
 * own (for means once more, with KRN_KV_CHANNEL twice).
 */
#ifndef KERNELS_CUDA_KV_CACHE_H
#define KERNELS_CUDA_KV_CACHE_H

#include "kernels/cuda.h"
#include "kernels/kv_cache.h"

#ifdef __cplusplus
extern "C" {
#endif

/** Keys and values of one layer, in memory of the caller. */
typedef struct krn_cuda_kv_cache {
    /** sizeof(krn_cuda_kv_cache). */
    uint32_t struct_size;
    /** Must be 0. */
    int32_t reserved;
    /** Shape and format; host memory, free for use when a call returns. Its scales and zero points are not read. */
    const krn_kv_cache_desc *desc;
    /** Device memory of krn_cuda_kv_cache_bytes(), aligned to 256 bytes, with any content. */
    void *pool;
    /** Of `pool`. */
    int64_t pool_bytes;
    /** Device memory, [sequences][ceil(max_tokens / page_tokens)]: the pages of every sequence. Entries behind its
     *  length are not read. */
    const int32_t *tables;
    /** Device memory, [sequences]: tokens of every sequence. */
    const int32_t *lengths;
    /** With KRN_KV_STATIC device memory, [kv_heads], instead of desc->key_scales, which is not read; NULL otherwise. */
    const float *key_scales;
    /** Likewise for values. */
    const float *value_scales;
    /** KRN_TYPE_U4 with KRN_KV_STATIC: device memory, [kv_heads] zero points in 0..15; NULL means 8. NULL otherwise. */
    const int32_t *key_zero_points;
    /** Likewise for values. */
    const int32_t *value_zero_points;
    /** center_keys: device memory, [sequences][kv_heads][head_dim], which krn_cuda_kv_append writes; NULL otherwise. */
    float *means;
    /** center_keys: device memory, [sequences], not 0 for sequences whose mean the caller has written; NULL when there
     *  are none. NULL otherwise. */
    const int32_t *mean_is_set;
    /** KRN_KV_CHANNEL: device memory, [sequences][kv_heads][key_group / 16][head_dim][16], aligned to 16 bytes; as large
     *  as krn_kv_cache_bytes() tells. NULL otherwise. */
    float *tails;
} krn_cuda_kv_cache;

/** Rows of a tensor of tokens, and the sequences whose last tokens they are. */
typedef struct krn_cuda_kv_batch {
    /** sizeof(krn_cuda_kv_batch). */
    uint32_t struct_size;
    /** Entries, 0 to 65535. */
    int32_t count;
    /** Device memory, [count]: the sequence of every entry. When tokens are appended, none occurs twice. */
    const int32_t *sequences;
    /** Device memory, [count + 1], ascending from 0 to `rows`: entry i has the rows starts[i]..starts[i + 1] - 1. */
    const int32_t *starts;
    /** Rows of all entries. */
    int32_t rows;
    /** No entry has more rows. */
    int32_t max_rows;
    /** No sequence of the batch has more tokens; 0 means max_tokens of the cache. */
    int64_t max_length;
} krn_cuda_kv_batch;

/** Where the tokens are that krn_cuda_kv_append stores. */
typedef struct krn_cuda_kv_tokens {
    /** sizeof(krn_cuda_kv_tokens). */
    uint32_t struct_size;
    /** KRN_TYPE_F32, KRN_TYPE_F16 or KRN_TYPE_BF16. */
    int32_t type;
    /** Device memory, [rows][kv_heads][head_dim]. */
    const void *keys;
    /** Likewise. */
    const void *values;
    /** Elements from a row of keys to the next, at least kv_heads * head_dim. */
    int64_t key_ld;
    /** Likewise for values. */
    int64_t value_ld;
    /** How keys are rotated by their positions (rope.h), of this head_dim; NULL for keys that are so already, or never.
     *  Host memory. What follows is read only with it. */
    const krn_rope_options *rope;
    /** Device memory: a table of krn_rope_table. */
    const float *cos_sin;
    /** Of the table's first row. */
    int64_t first_position;
    /** Rows of the table. */
    int64_t position_count;
    /** Device memory, [rows]: the position of every row; NULL when that is its number in its sequence, from 0. */
    const int32_t *positions;
} krn_cuda_kv_tokens;

/** Where krn_cuda_kv_read puts tokens. */
typedef struct krn_cuda_kv_target {
    /** sizeof(krn_cuda_kv_target). */
    uint32_t struct_size;
    /** KRN_TYPE_F32, KRN_TYPE_F16 or KRN_TYPE_BF16. */
    int32_t type;
    /** Device memory, [rows][kv_heads][head_dim]; NULL when keys are not wanted. */
    void *keys;
    /** Likewise. */
    void *values;
    /** Elements from a row of keys to the next, at least kv_heads * head_dim. */
    int64_t key_ld;
    /** Likewise for values. */
    int64_t value_ld;
} krn_cuda_kv_target;

/** Bytes of a page, and of the pool. Either pointer may be NULL.
 *  Errors: those of the description; KRN_ERROR_UNSUPPORTED. */
KRN_CUDA_API krn_status krn_cuda_kv_cache_bytes(const krn_kv_cache_desc *desc, int64_t *page_bytes,
                                                int64_t *pool_bytes);

/** Stores tokens at the ends of sequences.
 *  device_flags   NULL, or a word into which bits of krn_cuda_flag are ORed
 *  Errors: those of the arguments; KRN_ERROR_UNSUPPORTED (a format, head_dim * kv_heads * max_rows beyond a launch);
 *  KRN_ERROR_DEVICE. */
KRN_CUDA_API krn_status krn_cuda_kv_append(krn_cuda_context *context, const krn_cuda_kv_cache *cache,
                                           const krn_cuda_kv_batch *batch, const krn_cuda_kv_tokens *tokens,
                                           int32_t *device_flags, void *stream);

/** Dequantizes the last tokens of sequences, bit for bit as krn_kv_cache_read: as many of each as its entry has rows.
 *  Tokens whose page is none are not written.
 *  Errors: as krn_cuda_kv_append. */
KRN_CUDA_API krn_status krn_cuda_kv_read(krn_cuda_context *context, const krn_cuda_kv_cache *cache,
                                         const krn_cuda_kv_batch *batch, const krn_cuda_kv_target *target,
                                         int32_t *device_flags, void *stream);

#ifdef __cplusplus
}
#endif

#endif
