/* A call of the GEMM: what the door has checked, and where parts of its workspace lie. */
#ifndef KRN_CUDA_GEMM_CALL_H
#define KRN_CUDA_GEMM_CALL_H

#include "cuda/gemm/weights.h"

/* Where parts of the workspace begin. The first three are integer activations in the packed order, their zero points
 * less 128, and their sums; the others are there with `compute`: codes, scales and zero points, and with outlier
 * columns what of X is quantized, and what is not; with a threshold, which columns were found, their numbers and how
 * many they are. */
typedef struct krn_cuda_gemm_workspace {
    int64_t x, zeros, sums, codes, code_scales, code_zeros, rest, outliers, found, columns, count, end;
    /* Leading dimensions of codes, and of the rest, in elements. */
    int64_t codes_ld, rest_ld, outliers_ld;
} krn_cuda_gemm_workspace;

typedef struct krn_cuda_gemm_call {
    krn_cuda_context *context;
    const krn_cuda_weights *weights;
    int64_t m;
    const krn_activations *activations;
    const krn_gemm_output *output;
    int32_t compute;
    float outlier_threshold;
    uint8_t *workspace;
    krn_cuda_gemm_workspace parts;
    int32_t *device_flags;
    void *stream;
} krn_cuda_gemm_call;

/* Quantizes the activations of a call with `compute`, without the outlier columns of the weights, into the
 * workspace. */
krn_status krn_cuda_gemm_quantize(const krn_cuda_gemm_call *call, krn_activations *quantized);

#endif
