/* Outlier columns that packed weights keep as floats (weights.h). */
#ifndef KRN_GEMM_OUTLIERS_H
#define KRN_GEMM_OUTLIERS_H

#include "common/context.h"
#include "gemm/layout.h"

/* Where columns (ascending) lie in weights that have an order of inputs of their own: places[j] is that of columns[j],
 * and `ascending` has them in rising order. */
void krn_outliers_places(const krn_layout *layout, const int32_t *permutation, const int32_t *columns, int64_t count,
                         int32_t *places, int32_t *ascending);

/* Fills the tables of outlier columns; everything else in `weights` is packed. KRN_ERROR_NON_FINITE when a code
 * dequantizes to what their type does not hold. */
krn_status krn_outliers_pack(krn_context *context, krn_weights *weights, const krn_weights_source *source);

void krn_outliers_unpack(const krn_layout *layout, const uint8_t *packed, const krn_weights_parts *parts);

/* Columns are in order and within a row, places are theirs, weights are finite. */
int krn_outliers_are_sound(const krn_layout *layout, const uint8_t *packed);

#endif
