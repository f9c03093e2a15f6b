/* Fused steps on a device: kernels/fused.h, its options, layouts and arithmetic, with tensors in device memory.
 *
 * Codes, scales, sums and targets are those of the functions of the same name there, bit for bit, on every device: sums
 * are taken in the same 64 lanes, and exp is the same polynomial. Different from there:
 *
 *   - Pointers in options, input and codes are device memory. The structs themselves, codes->options, its codebook and
 *     options->rotation are host memory, and free for use when the call returns.
 *   - A row that is not finite, or runs into infinity, sets KRN_CUDA_FLAG_NON_FINITE in `device_flags`; what is
 *     written for it and for the others is as there.
 *   - There is no workspace. cols is at most 2^30, rows below 2^31.
 *   - Steps that rotate take rows of up to 32768, the matrices of kernels/cuda_hadamard.h, and 4.5 bytes of shared
 *     memory for every element of a row: all of 32768 on compute capability 8.0 and 9.0, 22,000 on 8.6 and 8.9.
 *   - krn_cuda_silu_mul and krn_cuda_gelu_mul with KRN_GATE_INTERLEAVED may have the source as target only while a row
 *     of f32 fits the shared memory of a block (24,000 elements on 8.6, 57,000 on 9.0).
 *
 * Memory traffic: input is read once and output written once, but for rows that do not fit shared memory, which are
 * read up to four times.
 */
#ifndef KERNELS_CUDA_FUSED_H
#define KERNELS_CUDA_FUSED_H

#include "kernels/cuda.h"
#include "kernels/fused.h"

#ifdef __cplusplus
extern "C" {
#endif

/** codes of rmsnorm(x) or rmsnorm(x + residual); see krn_rmsnorm_quantize for the arguments.
 *  device_flags      NULL, or a word into which KRN_CUDA_FLAG_NON_FINITE is ORed
 *  Errors: those of the arguments; KRN_ERROR_UNSUPPORTED for what is told above; KRN_ERROR_DEVICE. */
KRN_CUDA_API krn_status krn_cuda_rmsnorm_quantize(krn_cuda_context *context, const krn_fused_options *options,
                                                  int64_t rows, int64_t cols, const krn_fused_input *input,
                                                  const krn_fused_codes *codes, int32_t *device_flags, void *stream);

/** codes of layernorm(x) or layernorm(x + residual). See krn_cuda_rmsnorm_quantize. */
KRN_CUDA_API krn_status krn_cuda_layernorm_quantize(krn_cuda_context *context, const krn_fused_options *options,
                                                    int64_t rows, int64_t cols, const krn_fused_input *input,
                                                    const krn_fused_codes *codes, int32_t *device_flags, void *stream);

/** codes of silu(gate) * up. See krn_cuda_rmsnorm_quantize. */
KRN_CUDA_API krn_status krn_cuda_silu_mul_quantize(krn_cuda_context *context, const krn_fused_options *options,
                                                   int64_t rows, int64_t cols, const krn_fused_input *input,
                                                   const krn_fused_codes *codes, int32_t *device_flags, void *stream);

/** codes of gelu(gate) * up. See krn_cuda_rmsnorm_quantize. */
KRN_CUDA_API krn_status krn_cuda_gelu_mul_quantize(krn_cuda_context *context, const krn_fused_options *options,
                                                   int64_t rows, int64_t cols, const krn_fused_input *input,
                                                   const krn_fused_codes *codes, int32_t *device_flags, void *stream);

/** codes of x * weight. See krn_cuda_rmsnorm_quantize. */
KRN_CUDA_API krn_status krn_cuda_smooth_quantize(krn_cuda_context *context, const krn_fused_options *options,
                                                 int64_t rows, int64_t cols, const krn_fused_input *input,
                                                 const krn_fused_codes *codes, int32_t *device_flags, void *stream);

/** codes of the rotated x. See krn_cuda_rmsnorm_quantize. */
KRN_CUDA_API krn_status krn_cuda_hadamard_quantize(krn_cuda_context *context, const krn_fused_options *options,
                                                   int64_t rows, int64_t cols, const krn_fused_input *input,
                                                   const krn_fused_codes *codes, int32_t *device_flags, void *stream);

/** codes of the rotated rmsnorm(x) or rmsnorm(x + residual). See krn_cuda_rmsnorm_quantize. */
KRN_CUDA_API krn_status krn_cuda_rmsnorm_hadamard_quantize(krn_cuda_context *context, const krn_fused_options *options,
                                                           int64_t rows, int64_t cols, const krn_fused_input *input,
                                                           const krn_fused_codes *codes, int32_t *device_flags,
                                                           void *stream);

/** codes of the rotated silu(gate) * up. See krn_cuda_rmsnorm_quantize. */
KRN_CUDA_API krn_status krn_cuda_silu_mul_hadamard_quantize(krn_cuda_context *context, const krn_fused_options *options,
                                                            int64_t rows, int64_t cols, const krn_fused_input *input,
                                                            const krn_fused_codes *codes, int32_t *device_flags,
                                                            void *stream);

/** target = rmsnorm(x) or rmsnorm(x + residual); see krn_rmsnorm for the arguments.
 *  Errors: as krn_cuda_rmsnorm_quantize. */
KRN_CUDA_API krn_status krn_cuda_rmsnorm(krn_cuda_context *context, const krn_fused_options *options, int64_t rows,
                                         int64_t cols, const krn_fused_input *input, int32_t target_type, void *target,
                                         int64_t target_ld, void *stream);

/** target = layernorm(x) or layernorm(x + residual). See krn_cuda_rmsnorm. */
KRN_CUDA_API krn_status krn_cuda_layernorm(krn_cuda_context *context, const krn_fused_options *options, int64_t rows,
                                           int64_t cols, const krn_fused_input *input, int32_t target_type,
                                           void *target, int64_t target_ld, void *stream);

/** target = silu(gate) * up. See krn_cuda_rmsnorm. */
KRN_CUDA_API krn_status krn_cuda_silu_mul(krn_cuda_context *context, const krn_fused_options *options, int64_t rows,
                                          int64_t cols, const krn_fused_input *input, int32_t target_type, void *target,
                                          int64_t target_ld, void *stream);

/** target = gelu(gate) * up. See krn_cuda_rmsnorm. */
KRN_CUDA_API krn_status krn_cuda_gelu_mul(krn_cuda_context *context, const krn_fused_options *options, int64_t rows,
                                          int64_t cols, const krn_fused_input *input, int32_t target_type, void *target,
                                          int64_t target_ld, void *stream);

/** target = x * weight, a vector along the rows. See krn_cuda_rmsnorm. */
KRN_CUDA_API krn_status krn_cuda_multiply(krn_cuda_context *context, const krn_fused_options *options, int64_t rows,
                                          int64_t cols, const krn_fused_input *input, int32_t target_type, void *target,
                                          int64_t target_ld, void *stream);

#ifdef __cplusplus
}
#endif

#endif
