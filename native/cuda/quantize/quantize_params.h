/* What doors hand to the kernels of quantize/, and to those of other ops that quantize on the way. */
#ifndef KRN_CUDA_QUANTIZE_PARAMS_H
#define KRN_CUDA_QUANTIZE_PARAMS_H

#include "cuda/common/row_plan.h"

enum {
    /* Threads of blocks that work on rows without sharing anything; see krn_cuda_flat_plan. */
    KRN_CUDA_FLAT_THREADS = 256,
    /* What a thread of them takes in one step: two quads of floats, eight codes. */
    KRN_CUDA_FLAT_ELEMS = 8,
    /* What quantization per tensor keeps in the workspace: bits of the largest max(x, 0) and max(-x, 0). */
    KRN_CUDA_QUANTIZE_WORKSPACE_BYTES = 256,
};

/* krn_quantize_scheme (quantize/quantize_rows.h of kernels_cpu) without pointers. */
typedef struct krn_cuda_scheme {
    int32_t bits, asymmetric, is_codebook, scale_type;
    int32_t q_min, q_max, zero, flip;
    float clip_ratio, steps;
    /* Of a codebook: the 15 midpoints between entries, to quantize; the 16 entries, to dequantize. */
    float table[16];
} krn_cuda_scheme;

/* Where codes go or come from. Row r, block b has scale scales[r * scales_per_row + b]. */
typedef struct krn_cuda_codes {
    krn_cuda_scheme scheme;
    uint8_t *codes;
    float *scales;
    int32_t *zero_points;
    int32_t *device_flags;
    int64_t codes_ld_bytes, scales_per_row;
    /* Elements that share a scale within a row, log2 of that or -1, and how many there are to a row. */
    int32_t block, block_shift, blocks_per_row;
    /* Lanes that share the work on a block, where a row has several: a power of two. */
    int32_t block_lanes;
    /* Whether quads of codes lie at multiples of their size. */
    int32_t is_aligned;
    /* 1: every scale is this one. */
    int32_t is_static, static_zero_point;
    float static_scale;
} krn_cuda_codes;

/* krn_cuda_quantize_rows_*: a team for each row. */
typedef struct krn_cuda_quantize_params {
    krn_cuda_row_plan plan;
    const void *source;
    int64_t source_ld_bytes;
    int32_t is_staged, is_aligned;
    krn_cuda_codes codes;
} krn_cuda_quantize_params;

/* Rows without anything that is shared: a block has so many rows, `row_threads` threads each, and all blocks along y
 * take turns in a row. */
typedef struct krn_cuda_flat_plan {
    int64_t rows;
    int32_t cols, row_threads;
} krn_cuda_flat_plan;

/* krn_cuda_measure_tensor_*, krn_cuda_encode_tensor_*, krn_cuda_dequantize_*; `floats` is the source or the target. */
typedef struct krn_cuda_flat_params {
    krn_cuda_flat_plan plan;
    void *floats;
    int64_t floats_ld_bytes;
    int32_t is_aligned, has_zero_points;
    uint32_t *workspace;
    krn_cuda_codes codes;
} krn_cuda_flat_params;

/* krn_cuda_fill_scales. */
typedef struct krn_cuda_fill_params {
    float *scales;
    int32_t *zero_points;
    int64_t count;
    float scale;
    int32_t zero_point;
} krn_cuda_fill_params;

#endif
