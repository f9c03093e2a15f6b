/* Float activations that are quantized per token on their way into packed rows, with the bits of krn_quantize. */
#ifndef KRN_GEMM_DYNAMIC_H
#define KRN_GEMM_DYNAMIC_H

#include "gemm/side_kernels.h"
#include "kernels/gemm.h"
#include "quantize/quantize_rows.h"

typedef struct krn_dynamic {
    const krn_quantize_kernels *quantize;
    const krn_side_kernels *side;
    krn_quantize_scheme scheme;
    /* The floats, and their width. */
    const krn_activations *source;
    int64_t k;
    /* Outlier columns in ascending order: they count as 0. */
    const int32_t *columns;
    int64_t num_columns;
    /* Input i of the packed order is element permutation[i] of a row; NULL: element i. */
    const int32_t *permutation;
    /* The outlier columns' places in the packed order, ascending. */
    const int32_t *places;
    /* [m]; a scale is NaN in a row that is not finite. */
    krn_block_encoder *encoders;
    float *scales;
    int32_t *zero_points;
} krn_dynamic;

/* Sets the row's scale, zero point and encoder, and stores its outliers in `outliers`[num_columns]. */
void krn_dynamic_measure(const krn_dynamic *dynamic, int64_t row, float *outliers);

/* Codes of `count` inputs of a measured row in the packed order, one per byte; s4 as s8. */
void krn_dynamic_encode(const krn_dynamic *dynamic, int64_t row, int64_t first, int64_t count, uint8_t *codes);

/* Records where the row is not finite. */
krn_status krn_dynamic_fail(const krn_dynamic *dynamic, int64_t row);

#endif
