/* Checks that the doors of hadamard.h have in common. */
#ifndef KRN_HADAMARD_CHECKS_H
#define KRN_HADAMARD_CHECKS_H

#include "kernels/common.h"

/* A size, not negative and a multiple of `n`, which the message calls `multiple_of`. */
krn_status krn_hadamard_check_size(const char *name, int64_t size, const char *multiple_of, int64_t n);

/* Sizes, not negative, whose product fits. */
krn_status krn_hadamard_check_shape(int64_t rows, int64_t cols);

/* The type, address and leading dimension of `name` and `name`_ld. */
krn_status krn_hadamard_check_tensor(const char *name, const void *tensor, int32_t type, int64_t rows, int64_t cols,
                                     int64_t ld);

#endif
