/* What doors hand to kernels that work on a KV cache. */
#ifndef KRN_CUDA_KV_PARAMS_H
#define KRN_CUDA_KV_PARAMS_H

#include "cuda/hadamard/rotation_params.h"
#include "cuda/quantize/quantize_params.h"

enum {
    KRN_CUDA_KV_BLOCK = 16,
    KRN_CUDA_KV_APPEND_WARPS = 4,
    /* An encoder of each token of a block, 16 bytes. */
    KRN_CUDA_KV_APPEND_SHARED = KRN_CUDA_KV_APPEND_WARPS * KRN_CUDA_KV_BLOCK * 16,
    /* Thread blocks that change keys: 32 elements of 16 tokens to a thread, of 512 channels. */
    KRN_CUDA_KV_KEYS_THREADS = 256,
    KRN_CUDA_KV_MEAN_THREADS = 128,
    KRN_CUDA_KV_MAX_HEAD_DIM = 512,
};

/* Keys or values in a page: kv_layout.h of kernels_cpu. Offsets in bytes from the start of a head. */
typedef struct krn_cuda_kv_section {
    int32_t type, bits;
    int64_t codes_at, block_bytes;
    /* Of one token each; zero points lie behind the scales of a page. */
    int64_t scales_at;
    int32_t has_scales, has_zero_points;
    /* KRN_KV_STATIC: of every head, and zero points of KRN_TYPE_U4 or NULL. */
    const float *static_scales;
    const int32_t *static_zero_points;
    /* Channels as they are stored: head_dim, for values rounded up to 16. */
    int32_t stored_dim;
    /* KRN_KV_CHANNEL: tokens of a group, and bytes from the scales of one to those of the next; 0 otherwise. */
    int32_t group, group_bytes;
} krn_cuda_kv_section;

typedef struct krn_cuda_kv_view {
    uint8_t *pool;
    const int32_t *tables, *lengths;
    int64_t page_bytes, head_bytes;
    int32_t sequences, pages, table_pages, page_tokens, kv_heads, head_dim, max_tokens;
    krn_cuda_kv_section keys, values;
    /* KRN_KV_CHANNEL and center_keys; NULL otherwise. */
    float *tails, *means;
    const int32_t *mean_is_set;
} krn_cuda_kv_view;

typedef struct krn_cuda_kv_entries {
    const int32_t *sequences, *starts;
} krn_cuda_kv_entries;

/* krn_cuda_kv_append_*: a warp takes a block of 16 tokens of one head of an entry (z), keys or values (y, from
 * first_side on). */
typedef struct krn_cuda_kv_append_params {
    krn_cuda_kv_view cache;
    krn_cuda_kv_entries batch;
    const void *source[2];
    int64_t ld_bytes[2];
    /* How keys and values are quantized; only the scheme is read. */
    krn_cuda_codes codes[2];
    int32_t is_aligned[2];
    int32_t first_side;
    int32_t *device_flags;
} krn_cuda_kv_append_params;

/* krn_cuda_kv_read_*: the same way back. A NULL target is not wanted. */
typedef struct krn_cuda_kv_read_params {
    krn_cuda_kv_view cache;
    krn_cuda_kv_entries batch;
    void *target[2];
    int64_t ld_bytes[2];
    int32_t first_side;
    int32_t *device_flags;
} krn_cuda_kv_read_params;

/* RoPE of keys on their way in; rotary_dim is 0 without it. */
typedef struct krn_cuda_kv_rope {
    const float *cos_sin;
    const int32_t *positions;
    int32_t is_half, rotary_dim, first_position, position_count;
} krn_cuda_kv_rope;

/* Keys to which something is done, of an entry (z):
 *   krn_cuda_kv_means_*           the means of empty sequences, a thread for each channel of all heads (x)
 *   krn_cuda_kv_append_keys_*     a thread block takes a block of 16 tokens of a head (x)
 *   krn_cuda_kv_append_groups_*   a thread block takes a group of a head (x)
 *   krn_cuda_kv_read_keys_*       as krn_cuda_kv_append_keys_*, the same way back, with the inverse rotation */
typedef struct krn_cuda_kv_keys_params {
    krn_cuda_kv_view cache;
    krn_cuda_kv_entries batch;
    const void *source;
    void *target;
    int64_t ld_bytes;
    krn_cuda_codes codes;
    krn_cuda_kv_rope rope;
    /* n is 0 where keys are not rotated. */
    krn_cuda_head_rotation rotation;
    int32_t *device_flags;
} krn_cuda_kv_keys_params;

#endif
