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
    /* Likewise of bf16 weights, 144 when lanes read 4 bytes of them, 160 when they read 8. */
    KRN_CUDA_ATTENTION_BF16_WEIGHT_LD = 144,
    KRN_CUDA_ATTENTION_F8_WEIGHT_LD = 160,
    /* Words that every row has in shared memory: attention_rows.cuh. */
    KRN_CUDA_ATTENTION_ROW_WORDS = 9,
    /* Rows of queries, token and head, that a thread block of krn_cuda_attention_queries rotates. */
    KRN_CUDA_ATTENTION_QUERY_ROWS = 8,
};

/* Shared memory, in bytes: queries at 0, then what follows. A stage is a block of 64 tokens: keys, values, scales. */
typedef struct krn_cuda_attention_space {
    int32_t query_ld, rows_at, scores_at, weights_at, stages_at, stage_bytes, stages;
    /* In a stage. */
    int32_t values_at, scales_at, value_row_bytes;
    /* KRN_KV_CHANNEL: in a stage the scales of up to four groups; behind the stages codes of the rows for each of these
     * groups, and two words of them. */
    int32_t channels_at, group_codes_at, group_ld, group_words_at;
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
    /* scale * (q . mean) of every row, [rows][heads]; NULL where keys are not centered. */
    const float *bias;
    /* States: [chunks][rows * heads], of acc [..][value_dim]. */
    int64_t states;
    float *m, *l, *acc;
    int32_t *device_flags;
} krn_cuda_attention_params;

/* krn_cuda_attention_queries: queries of caches that rotate or center their keys, rotated, as f32; eight rows, token and
 * head, of an entry (z) to a thread block (x). */
typedef struct krn_cuda_attention_queries_params {
    krn_cuda_kv_view cache;
    krn_cuda_kv_entries batch;
    const void *query;
    int64_t query_ld_bytes;
    int32_t query_type, heads, group;
    float scale;
    /* [rows][heads][head_dim], and [rows][heads] or NULL. */
    float *rotated, *bias;
    krn_cuda_head_rotation rotation;
    int32_t *device_flags;
} krn_cuda_attention_queries_params;

#endif
