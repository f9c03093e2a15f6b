/* Hadamard rotation on a device: kernels/hadamard.h, its options, matrices and order of additions, with tensors in
 * device memory.
 *
 * Results are those of krn_hadamard, bit for bit, for f32, f16 and bf16, on every device. Different from there:
 *
 *   - signs_before and signs_after of the options are device memory, aligned to 4 bytes, and read by the kernel. The
 *     options themselves are host memory, and free for use when the call returns.
 *   - n is at most 32768, its matrix has bases of order 172 at most, and 4.5 bytes for each of n elements must fit the
 *     shared memory of a block: all of them on compute capability 8.0 and 9.0, n up to 22,528 on 8.6 and 8.9.
 *   - There is no workspace.
 *
 * Memory traffic: every element is read once and written once.
 */
#ifndef KERNELS_CUDA_HADAMARD_H
#define KERNELS_CUDA_HADAMARD_H

#include "kernels/cuda.h"
#include "kernels/hadamard.h"

#ifdef __cplusplus
extern "C" {
#endif

/** Transforms source[rows, cols] into target[rows, cols]; see krn_hadamard for the tensors. The target may be the
 *  source, with the same leading dimension.
 *  Errors: those of options and arguments; KRN_ERROR_UNSUPPORTED for what is told above; KRN_ERROR_DEVICE. */
KRN_CUDA_API krn_status krn_cuda_hadamard(krn_cuda_context *context, const krn_hadamard_options *options, int64_t rows,
                                          int64_t cols, int32_t type, const void *source, int64_t source_ld,
                                          void *target, int64_t target_ld, void *stream);

#ifdef __cplusplus
}
#endif

#endif
