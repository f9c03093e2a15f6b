/* What the loops over memory are launched with. */
#ifndef KRN_CUDA_CEILING_PARAMS_H
#define KRN_CUDA_CEILING_PARAMS_H

#include <stdint.h>

/* Blocks of 256 threads fill a multiprocessor; warps in all blocks have a word each in what the read loop writes. */
enum { KRN_CUDA_CEILING_THREADS = 256, KRN_CUDA_CEILING_MOST_BLOCKS = 2048 };

typedef struct krn_cuda_ceiling_params {
    void *to;
    const void *a;
    const void *b;
    int64_t vectors; /* of 16 bytes */
} krn_cuda_ceiling_params;

#endif
