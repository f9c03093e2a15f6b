/* What the door of hadamard/ hands to its kernels. */
#ifndef KRN_CUDA_HADAMARD_PARAMS_H
#define KRN_CUDA_HADAMARD_PARAMS_H

#include "cuda/hadamard/rotation_params.h"

enum {
    /* Elements of a tile, unless one transform takes more: 16 KiB of shared memory, so that eight blocks of 128 threads
     * fit a multiprocessor and some load while others compute. */
    KRN_CUDA_HADAMARD_TILE = 4096,
};

/* krn_cuda_hadamard_*: a block for each tile, `tile` elements of a row or what is left of it. */
typedef struct krn_cuda_hadamard_params {
    const void *source;
    void *target;
    int64_t source_ld_bytes, target_ld_bytes, cols;
    int32_t tile, tiles_per_row;
    /* Whether rows of both lie at multiples of 16 bytes. */
    int32_t is_aligned;
    krn_cuda_rotation rotation;
} krn_cuda_hadamard_params;

#endif
