/* What doors hand to kernels that work on a KV cache. */
#ifndef KRN_CUDA_KV_PARAMS_H
#define KRN_CUDA_KV_PARAMS_H

#include "cuda/quantize/quantize_params.h"

enum {
    KRN_CUDA_KV_BLOCK = 16,
    KRN_CUDA_KV_APPEND_WARPS = 4,
    /* An encoder of each token of a block, 16 bytes. */
    KRN_CUDA_KV_APPEND_SHARED = KRN_CUDA_KV_APPEND_WARPS * KRN_CUDA_KV_BLOCK * 16,
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
} krn_cuda_kv_section;

typedef struct krn_cuda_kv_view {
    uint8_t *pool;
    const int32_t *tables, *lengths;
    int64_t page_bytes, head_bytes;
    int32_t sequences, pages, table_pages, page_tokens, kv_heads, head_dim, max_tokens;
    krn_cuda_kv_section keys, values;
} krn_cuda_kv_view;

typedef struct krn_cuda_kv_entries {
    const int32_t *sequences, *starts;
} krn_cuda_kv_entries;

/* krn_cuda_kv_append_*: a warp takes a block of 16 tokens of one head of an entry (z), keys or values (y). */
typedef struct krn_cuda_kv_append_params {
    krn_cuda_kv_view cache;
    krn_cuda_kv_entries batch;
    const void *source[2];
    int64_t ld_bytes[2];
    /* How keys and values are quantized; only the scheme is read. */
    krn_cuda_codes codes[2];
    int32_t is_aligned[2];
    int32_t *device_flags;
} krn_cuda_kv_append_params;

/* krn_cuda_kv_read_*: the same way back. A NULL target is not wanted. */
typedef struct krn_cuda_kv_read_params {
    krn_cuda_kv_view cache;
    krn_cuda_kv_entries batch;
    void *target[2];
    int64_t ld_bytes[2];
    int32_t *device_flags;
} krn_cuda_kv_read_params;

#endif
