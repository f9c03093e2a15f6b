/* The transform in binary64, scalar, for weights that are rotated offline. */
#ifndef KRN_HADAMARD_F64_H
#define KRN_HADAMARD_F64_H

#include "hadamard/hadamard_plan.h"

/* Transforms one block in place, in the order of kernels/hadamard.h. `scale` replaces the plan's. */
void krn_hadamard_row_f64(const krn_hadamard_plan *plan, double scale, double *row);

#endif
