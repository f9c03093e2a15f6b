/* The checks of the door of gemm.h. Each gives the status of a bad argument and names it. */
#ifndef KRN_GEMM_ARGUMENTS_H
#define KRN_GEMM_ARGUMENTS_H

#include "gemm/layout.h"
#include "kernels/gemm.h"

static inline int krn_is_float_type(int32_t type) {
    return type == KRN_TYPE_F32 || type == KRN_TYPE_F16 || type == KRN_TYPE_BF16;
}

krn_status krn_gemm_check_activations(const krn_layout *layout, int64_t m, const krn_activations *activations);

krn_status krn_gemm_check_output(const krn_layout *layout, int64_t m, const krn_gemm_output *output);

/* What a workspace depends on. */
krn_status krn_gemm_check_options(const krn_gemm_options *options, int32_t activation_type);

/* The rest of an adapter, whose rank krn_gemm_check_options has seen. */
krn_status krn_gemm_check_lora(const krn_layout *layout, const krn_lora *lora);

#endif
