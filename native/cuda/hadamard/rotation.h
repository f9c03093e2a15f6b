/* Plans of rotations for kernels. */
#ifndef KRN_CUDA_ROTATION_H
#define KRN_CUDA_ROTATION_H

#include "cuda/hadamard/rotation_params.h"
#include "kernels/hadamard.h"

/* The rotation of options; all of their errors, and KRN_ERROR_UNSUPPORTED for what kernels do not do. */
krn_status krn_cuda_rotation_of(const krn_hadamard_options *options, krn_cuda_rotation *rotation);

#endif
