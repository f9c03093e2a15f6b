/* As hadamard_ref.c, in binary64. */
#include "hadamard/hadamard_f64.h"

typedef double number;

#include "hadamard/hadamard_scalar.h"

void krn_hadamard_row_f64(const krn_hadamard_plan *plan, double scale, double *x) { transform_row(plan, scale, x); }
