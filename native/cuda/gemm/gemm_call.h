/* A call of the GEMM: what the door has checked, and where parts of its workspace lie. */
#ifndef KRN_CUDA_GEMM_CALL_H
#define KRN_CUDA_GEMM_CALL_H

#include "cuda/gemm/weights.h"

/* Where parts of the workspace begin. The first three are integer activations in the packed order, their zero points
 * less 128, and their sums. For the side term, a row for each of X: the outlier columns, then the ranks of an adapter;
 * and B of the adapter as [rank][padded_n]. The others are there with `compute`: codes, scales and zero points, with
 * outlier columns what of X is quantized; with a threshold, which columns were found, their numbers and how many they
 * are. Where K is split between blocks, what they leave. */
typedef struct krn_cuda_gemm_workspace {
    int64_t x, zeros, sums, side, adapter, codes, code_scales, code_zeros, rest, found, columns, count, partials, end;
    /* Leading dimensions of codes, of the rest and of the side term, in elements. */
    int64_t codes_ld, rest_ld, side_ld;
    /* Outlier columns, or the most that there can be, and ranks. */
    int32_t num_outliers, rank;
} krn_cuda_gemm_workspace;

typedef struct krn_cuda_gemm_call {
    krn_cuda_context *context;
    const krn_cuda_weights *weights;
    int64_t m;
    const krn_activations *activations;
    const krn_gemm_output *output;
    const krn_gemm_options *options;
    uint8_t *workspace;
    krn_cuda_gemm_workspace parts;
    int32_t *device_flags;
    void *stream;
} krn_cuda_gemm_call;

/* Projects the activations of a call by the A of its adapter, and turns B, into the workspace. */
krn_status krn_cuda_gemm_project(const krn_cuda_gemm_call *call);

/* Quantizes the activations of a call with `compute`, without the outlier columns of the weights, into the
 * workspace. */
krn_status krn_cuda_gemm_quantize(const krn_cuda_gemm_call *call, krn_activations *quantized);

#endif
