/* A tensor map as parameter structs of kernels hold it: written by krn_cuda_backend.tensor_map. */
#ifndef KRN_CUDA_TENSOR_MAP_H
#define KRN_CUDA_TENSOR_MAP_H

#include <stdint.h>

typedef struct krn_cuda_tensor_map {
#if defined(__cplusplus)
    alignas(64) uint64_t opaque[16];
#else
    _Alignas(64) uint64_t opaque[16];
#endif
} krn_cuda_tensor_map;

#endif
