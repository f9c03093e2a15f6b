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
 *
 * With KRN_CUDA_HADAMARD_TENSOR_CORES in options->flags a rotation of f16 or bf16 may be done by matrix instructions,
 * which have no bits in common with krn_hadamard, but a bound. Where they are used, n = m 2^k with k of 5 at least and
 * m either 1 or the order of the only base, a block x becomes y + d with |d| <= e * c sqrt(n) * |x| + n 2^-126,
 * rounded to the type to nearest even; |..| is the Euclidean norm over the block, which also bounds each element, and
 *
 *   e = (40 + k + (k < 8 ? 0 : 180) + (m == 1 ? 0 : 130 + 80 ceil(m / 16))) * 2^-24
 *
 * about 2^-19 for n = 128, 2^-16 for 4096 and 2^-14 for 14336 = 28 * 512, of the norm of y. It supposes of a matrix
 * instruction no more than cuda_gemm.h does. docs/cuda.md has the derivation. Everything else, f32 too, is done as
 * without the flag, and so are the checks. A block with infinity or NaN in it becomes infinity or NaN, not always the
 * one of the two that it becomes without the flag; one whose sum of magnitudes is not below 2^127 may. Other blocks do
 * not notice. A device gives the same bits every time, wherever in a tensor a block is.
 */
#ifndef KERNELS_CUDA_HADAMARD_H
#define KERNELS_CUDA_HADAMARD_H

#include "kernels/cuda.h"
#include "kernels/hadamard.h"

#ifdef __cplusplus
extern "C" {
#endif

/** Bits of `flags` of krn_hadamard_options that krn_cuda_hadamard takes. */
enum krn_cuda_hadamard_flag {
    /** Results of f16 and bf16 within a bound of the exact ones, instead of krn_hadamard's bits. */
    KRN_CUDA_HADAMARD_TENSOR_CORES = 1,
};

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
