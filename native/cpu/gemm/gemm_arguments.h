/* The checks of the door of gemm.h, which are also those of cuda_gemm.h: nothing that a tensor's pointer names is read.
 * Each gives the status of a bad argument and names it. */
#ifndef KRN_GEMM_ARGUMENTS_H
#define KRN_GEMM_ARGUMENTS_H

#include "kernels/gemm.h"

krn_status krn_gemm_check_activations(int64_t m, int64_t k, const krn_activations *activations);

krn_status krn_gemm_check_output(int64_t m, int64_t n, const krn_gemm_output *output);

/* What a workspace depends on, for weights with so many outlier columns. */
krn_status krn_gemm_check_options(const krn_gemm_options *options, int32_t activation_type, int64_t num_outliers);

/* The rest of an adapter, whose rank krn_gemm_check_options has seen. */
krn_status krn_gemm_check_lora(int64_t n, int64_t k, const krn_lora *lora);

#endif
