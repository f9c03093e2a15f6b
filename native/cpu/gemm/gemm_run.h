/* Runs a variant over a whole problem: packs activations, cuts the work into pieces for threads and caches. Everything
 * has been checked. */
#ifndef KRN_GEMM_RUN_H
#define KRN_GEMM_RUN_H

#include "gemm/gemm_kernel.h"
#include "gemm/prepare.h"

/* Bytes of workspace for m rows, packed as `activation_type`; krn_prepare_bytes come on top. */
int64_t krn_gemm_run_bytes(const krn_gemm_kernel *variant, const krn_layout *layout, int32_t activation_type,
                           int64_t m);

/* m and N are at least 1. Fails only with KRN_ERROR_NON_FINITE, before Y is written. */
krn_status krn_gemm_run(const krn_gemm_call *call);

#endif
