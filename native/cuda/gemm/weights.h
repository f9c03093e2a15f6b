/* Weights in device memory. */
#ifndef KRN_CUDA_WEIGHTS_H
#define KRN_CUDA_WEIGHTS_H

#include "cuda/gemm/weights_layout.h"
#include "kernels/cuda_gemm.h"

#include <stddef.h>

struct krn_cuda_weights {
    krn_cuda_weights_layout layout;
    krn_cuda_context *context;
    uint8_t *memory;
    int32_t owns_memory;
};

/* A section of the weights, NULL where there is none, or nothing at all. */
static inline const void *krn_cuda_weights_section(const krn_cuda_weights *weights, int64_t at) {
    return at < 0 || weights->memory == NULL ? NULL : weights->memory + at;
}

#endif
