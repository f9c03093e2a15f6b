/* The side term of gemm.h, a product of few columns in binary32: side = P . Q, where P[m][j] is an outlier of X or a
 * projected row, and Q[j][n] a dequantized weight or an element of B. P is made once per call, Q panel by panel. */
#ifndef KRN_GEMM_SIDE_H
#define KRN_GEMM_SIDE_H

#include "common/context.h"
#include "gemm/scales.h"
#include "gemm/side_kernels.h"
#include "kernels/gemm.h"

typedef struct krn_side {
    const krn_side_kernels *kernels;
    const krn_weights *weights;
    const krn_scales_kernel *scales;
    /* Outlier columns in ascending order of their own, by their places in the packed order of inputs; not of those that
     * the weights keep. */
    const int32_t *places;
    int64_t num_columns;
    /* Or NULL. */
    const krn_lora *lora;
    /* [m][p_ld]: num_columns outliers, then the ranks of the adapter. */
    float *p;
    int64_t p_ld;
} krn_side;

/* The variant that runs in a context. */
const krn_side_kernels *krn_side_kernels_of(const krn_context *context);

/* The projected part of P for some rows of X. */
void krn_side_project(const krn_side *side, const krn_activations *x, int64_t first_row, int32_t rows);

/* q[count][32] = the dequantized weights of a panel's channels at some places; needs kernels, weights and scales. */
void krn_side_dequantize(const krn_side *side, int64_t panel, const int32_t *places, int64_t count, float *q);

/* out[rows][32] = side of these rows and a panel of channels. */
void krn_side_panel(const krn_side *side, int64_t panel, int64_t first_row, int64_t rows, float *out);

#endif
