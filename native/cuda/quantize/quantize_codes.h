/* What the doors of ops that quantize share. */
#ifndef KRN_CUDA_QUANTIZE_CODES_H
#define KRN_CUDA_QUANTIZE_CODES_H

#include "cuda/common/context.h"
#include "cuda/quantize/quantize_params.h"
#include "kernels/quantize.h"

/* Of checked options, with cols > 0, to quantize; static scales are left to the caller. */
krn_cuda_codes krn_cuda_codes_of(const krn_quantize_options *options, int64_t cols, const void *codes,
                                 int64_t codes_ld_bytes, const float *scales, const int32_t *zero_points,
                                 int32_t *device_flags);

/* Checks of options and of where codes are, as krn_quantize_check_codes has them, and of the alignment of devices. */
krn_status krn_cuda_check_codes(const krn_quantize_options *options, int64_t rows, int64_t cols, const void *codes,
                                int64_t codes_ld_bytes, const float *scales, const int32_t *zero_points);

/* Writes all scales and zero points of a tensor that has no elements. */
krn_status krn_cuda_fill_scales(krn_cuda_context *context, const krn_quantize_options *options, int64_t rows,
                                int64_t cols, float *scales, int32_t *zero_points, float scale, int32_t zero_point,
                                void *stream);

/* "krn_cuda_<op>_f32" and so on, of KRN_TYPE_F32, _F16 and _BF16. */
#define KRN_CUDA_NAME_BYTES 64
void krn_cuda_kernel_name(char name[KRN_CUDA_NAME_BYTES], const char *op, int32_t type);

#endif
