/* Quantization on a device: kernels/quantize.h, its options, layouts and arithmetic, with tensors in device memory.
 *
 * Codes, scales and zero points are those of krn_quantize, bit for bit, and values those of krn_dequantize, on every
 * device. Different from there:
 *
 *   - NaN or infinity in the source set KRN_CUDA_FLAG_NON_FINITE in `device_flags`. A row that holds them (per tensor:
 *     the tensor) has codes equal to the zero point, 0 with KRN_TYPE_C4, scales of NaN, and the zero point of all-zero
 *     input; every other row is as if it were alone.
 *   - The error of quantization is not reported.
 *   - `options`, and the codebook it may point to, are host memory, and free for use when the call returns.
 *   - cols is at most 2^30, rows below 2^31.
 *   - Leading dimensions of whole 16 bytes, and codes_ld_bytes of whole 8, let every access take 8 to 16 bytes; others
 *     are as right and slower.
 *
 * Memory traffic: the source is read once, but per tensor twice, and also in rows that do not fit the shared memory of
 * a block (above 56,000 f32 on compute capability 9.0, 25,000 on 8.6).
 */
#ifndef KERNELS_CUDA_QUANTIZE_H
#define KERNELS_CUDA_QUANTIZE_H

#include "kernels/cuda.h"
#include "kernels/quantize.h"

#ifdef __cplusplus
extern "C" {
#endif

/** Bytes of workspace that krn_cuda_quantize takes: 0 but with KRN_GRANULARITY_TENSOR.
 *  Errors: those of `options`, KRN_ERROR_NULL_ARGUMENT. */
KRN_CUDA_API krn_status krn_cuda_quantize_workspace_size(const krn_quantize_options *options, int64_t *bytes);

/** Quantizes source[rows, cols]; see krn_quantize for the tensors.
 *  workspace         krn_cuda_quantize_workspace_size() bytes of device memory; may be NULL for 0
 *  device_flags      NULL, or a word into which KRN_CUDA_FLAG_NON_FINITE is ORed
 *  Errors: those of the arguments; KRN_ERROR_UNSUPPORTED for sizes above those told; KRN_ERROR_DEVICE. */
KRN_CUDA_API krn_status krn_cuda_quantize(krn_cuda_context *context, const krn_quantize_options *options, int64_t rows,
                                          int64_t cols, int32_t source_type, const void *source, int64_t source_ld,
                                          void *codes, int64_t codes_ld_bytes, float *scales, int32_t *zero_points,
                                          void *workspace, int64_t workspace_bytes, int32_t *device_flags,
                                          void *stream);

/** Dequantizes codes[rows, cols]; see krn_dequantize. Zero points that are not in -32768..32767 give values that mean
 *  nothing. Errors: as krn_cuda_quantize. */
KRN_CUDA_API krn_status krn_cuda_dequantize(krn_cuda_context *context, const krn_quantize_options *options,
                                            int64_t rows, int64_t cols, const void *codes, int64_t codes_ld_bytes,
                                            const float *scales, const int32_t *zero_points, int32_t target_type,
                                            void *target, int64_t target_ld, void *stream);

#ifdef __cplusplus
}
#endif

#endif
