/* What the loops over memory are launched with. */
#ifndef KRN_CUDA_CEILING_PARAMS_H
#define KRN_CUDA_CEILING_PARAMS_H

#include <stdint.h>

/* Four blocks of 256 threads, four vectors each under way, are 64 KiB of loads a multiprocessor: twice what hides the
 * latency of the fastest memory there is. Every warp has a word in what the read loop writes, which bounds the blocks. */
enum { KRN_CUDA_CEILING_THREADS = 256, KRN_CUDA_CEILING_BLOCKS_PER_SM = 4, KRN_CUDA_CEILING_MOST_BLOCKS = 2048 };

typedef struct krn_cuda_ceiling_params {
    void *to;
    const void *a;
    const void *b;
    int64_t vectors; /* of 16 bytes */
} krn_cuda_ceiling_params;

#endif
