/* Checks of the arguments of the GEMM. What lies on the device is not looked at. */
#ifndef KRN_CUDA_GEMM_ARGUMENTS_H
#define KRN_CUDA_GEMM_ARGUMENTS_H

#include "cuda/gemm/weights.h"

krn_status krn_cuda_gemm_check_options(const krn_cuda_weights *weights, const krn_gemm_options *options,
                                       int32_t activation_type);
krn_status krn_cuda_gemm_check_activations(const krn_cuda_weights *weights, int64_t m, const krn_activations *a);
krn_status krn_cuda_gemm_check_output(const krn_cuda_weights *weights, int64_t m, const krn_gemm_output *y);

#endif
