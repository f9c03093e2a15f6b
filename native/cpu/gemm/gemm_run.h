/* Runs a variant over a whole problem: packs activations, cuts the work into pieces for threads and caches. Everything
 * has been checked. */
#ifndef KRN_GEMM_RUN_H
#define KRN_GEMM_RUN_H

#include "gemm/gemm_kernel.h"
#include "gemm/prepare.h"

/* m and N are at least 1. Fails only with KRN_ERROR_NON_FINITE, before Y is written. */
krn_status krn_gemm_run(const krn_gemm_call *call);

#endif
