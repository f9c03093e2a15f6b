/* Checks of the arguments of the GEMM that are made on devices alone, beside those of gemm/gemm_arguments.h of
 * kernels_cpu. */
#ifndef KRN_CUDA_GEMM_ARGUMENTS_H
#define KRN_CUDA_GEMM_ARGUMENTS_H

#include "kernels/gemm.h"

/* How tensors are aligned. `options` may be NULL. */
krn_status krn_cuda_gemm_check_alignment(const krn_activations *activations, const krn_gemm_output *output,
                                         const krn_gemm_options *options);

/* The rank of an adapter that kernels take; nothing to check without one. */
krn_status krn_cuda_gemm_check_rank(const krn_lora *lora);

#endif
