/* What a device's memory can do at most: the loops that benchmarks are held against. */
#ifndef KERNELS_CUDA_CEILING_H
#define KERNELS_CUDA_CEILING_H

#include "kernels/cuda.h"

#ifdef __cplusplus
extern "C" {
#endif

/** Loops over memory. The numbers are pinned. */
enum krn_cuda_ceiling {
    /** Reads `a`; moves `bytes` bytes. */
    KRN_CUDA_CEILING_READ = 1,
    /** to = a; moves twice `bytes`. */
    KRN_CUDA_CEILING_COPY = 2,
    /** to = a + 3 * b in f32, an fma each; moves three times `bytes`. */
    KRN_CUDA_CEILING_TRIAD = 3,
};

/** What KRN_CUDA_CEILING_READ writes to `to`, whatever `bytes` is. */
#define KRN_CUDA_CEILING_READ_BYTES 65536

/** Runs a loop once.
 *  to, a, b  device memory of `bytes` bytes each, aligned to 16 and not overlapping; `b` is for the triad alone. For
 *            KRN_CUDA_CEILING_READ `to` holds KRN_CUDA_CEILING_READ_BYTES, into which the bitwise OR of what each warp
 *            has read is written, so that reading cannot be left out
 *  bytes     a multiple of 16
 *  Errors: KRN_ERROR_NULL_ARGUMENT, KRN_ERROR_INVALID_ARGUMENT, KRN_ERROR_ALIGNMENT, KRN_ERROR_DEVICE. */
KRN_CUDA_API krn_status krn_cuda_ceiling_run(krn_cuda_context *context, int32_t ceiling, int64_t bytes, void *to,
                                             const void *a, const void *b, void *stream);

#ifdef __cplusplus
}
#endif

#endif
