/* Runs a variant over a whole problem: packs activations, cuts the work into pieces for threads and caches. Everything has been
 * checked. */
#ifndef KRN_GEMM_RUN_H
#define KRN_GEMM_RUN_H

#include "common/context.h"
#include "gemm/gemm_kernel.h"

enum { KRN_WORKSPACE_ALIGNMENT = 64 };

/* Bytes of workspace for m rows. */
int64_t krn_gemm_run_bytes(const krn_gemm_kernel *variant, const krn_layout *layout, int32_t activation_type,
                           int64_t m);

/* m and N are at least 1. */
void krn_gemm_run(krn_context *context, const krn_gemm_kernel *variant, const krn_weights *weights, int64_t m,
                  const krn_activations *activations, const krn_gemm_output *output, void *workspace);

#endif
