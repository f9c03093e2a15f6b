/* What a call does to float activations before the tiles run: quantizes them per token, finds outlier columns, projects
 * them for LoRA. A call without options prepares nothing. */
#ifndef KRN_GEMM_PREPARE_H
#define KRN_GEMM_PREPARE_H

#include "common/context.h"
#include "gemm/dynamic.h"
#include "gemm/gemm_kernel.h"
#include "gemm/side.h"
#include "gemm/workspace.h"

/* The arguments of krn_gemm, checked; `options` is never NULL. */
typedef struct krn_gemm_call {
    krn_context *context;
    const krn_gemm_kernel *variant;
    const krn_weights *weights;
    int64_t m;
    const krn_activations *activations;
    const krn_gemm_output *output;
    const krn_gemm_options *options;
    void *workspace;
} krn_gemm_call;

typedef struct krn_prepared {
    const krn_gemm_call *call;
    /* What the tiles and the epilogue see: the caller's activations, or type, scales and zero points of the codes that
     * `dynamic` makes. */
    krn_activations activations;
    krn_dynamic dynamic;
    krn_side side;
    int32_t is_dynamic, has_side;
} krn_prepared;

/* Bytes of workspace for m rows, a multiple of 64; and at most this for each row. */
int64_t krn_prepare_bytes(const krn_context *context, const krn_layout *layout, const krn_gemm_options *options,
                          int64_t m);
int64_t krn_prepare_row_bytes(const krn_layout *layout, const krn_gemm_options *options);

/* Lays out the workspace and finds the outlier columns, or takes those of the weights. */
void krn_prepare_open(krn_prepared *prepared, const krn_gemm_call *call, uint8_t *workspace);

/* Scales, and the rows of P, for rows that are about to be packed. May run for different rows at once. */
void krn_prepare_rows(const krn_prepared *prepared, int64_t first_row, int32_t rows);

/* After all rows: KRN_ERROR_NON_FINITE when one could not be quantized. */
krn_status krn_prepare_check(const krn_prepared *prepared);

#endif
