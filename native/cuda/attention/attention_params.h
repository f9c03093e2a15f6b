/* What the door of attention hands to its kernels. */
#ifndef KRN_CUDA_ATTENTION_PARAMS_H
#define KRN_CUDA_ATTENTION_PARAMS_H

#include "cuda/kv_cache/kv_params.h"

enum {
    KRN_CUDA_ATTENTION_ROWS = 16,
    KRN_CUDA_ATTENTION_BLOCK = 64,
    KRN_CUDA_ATTENTION_THREADS = 128,
    /* Part of the numeric contract of kernels/attention.h. */
    KRN_CUDA_ATTENTION_CHUNK = 512,
    KRN_CUDA_ATTENTION_DECODE_ROWS = 8,
    /* Floats from a row of scores, or of float weights, to the next. */
    KRN_CUDA_ATTENTION_SCORE_LD = 68,
    /* Bytes of a row of u8 weights: rows 96 bytes apart lie in different banks. */
    KRN_CUDA_ATTENTION_WEIGHT_LD = 96,
    /* Words that every row has in shared memory: attention_rows.cuh. */
    KRN_CUDA_ATTENTION_ROW_WORDS = 8,
};

/* Shared memory, in bytes: queries at 0, then what follows. A stage is a block of 64 tokens: keys, values, scales. */
typedef struct krn_cuda_attention_space {
    int32_t query_ld, rows_at, scores_at, weights_at, stages_at, stage_bytes, stages;
    /* In a stage. */
    int32_t values_at, scales_at, value_row_bytes;
    int32_t bytes;
} krn_cuda_attention_space;

/* krn_cuda_attention_*: a chunk (x) of an entry (z), 16 rows of a KV head (y); krn_cuda_attention_finish. */
typedef struct krn_cuda_attention_params {
    krn_cuda_kv_view cache;
    krn_cuda_kv_entries batch;
    krn_cuda_attention_space space;
    const void *query;
    void *output;
    float *lse;
    int64_t query_ld_bytes, output_ld_bytes;
    int32_t query_type, output_type;
    int32_t heads, group, full;
    /* 0: none. */
    int32_t window, sink_tokens;
    float scale, softcap;
    const float *sink_logits, *slopes;
    /* States: [chunks][rows * heads], of acc [..][value_dim]. */
    int64_t states;
    float *m, *l, *acc;
    int32_t *device_flags;
} krn_cuda_attention_params;

#endif
