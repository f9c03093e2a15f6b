/* Plans of rotations for kernels. */
#ifndef KRN_CUDA_ROTATION_H
#define KRN_CUDA_ROTATION_H

#include "cuda/hadamard/rotation_params.h"
#include "kernels/hadamard.h"

/* Threads of a block that transforms `elems` elements together. KRN_ERROR_UNSUPPORTED when there are none that can. */
krn_status krn_cuda_rotation_threads(const krn_cuda_rotation *rotation, int64_t elems, uint32_t *threads);

/* The rotation of options; all of their errors, and KRN_ERROR_UNSUPPORTED for what kernels do not do. */
krn_status krn_cuda_rotation_of(const krn_hadamard_options *options, krn_cuda_rotation *rotation);

/* Cuts the levels of a rotation for kernels with matrices; 0, and nothing is changed, when they do not do it. */
int32_t krn_cuda_rotation_cut_for_matrices(krn_cuda_rotation *rotation);

/* The normalized rotation of heads of n elements, or its inverse. KRN_ERROR_UNSUPPORTED where there is none. */
krn_status krn_cuda_head_rotation_of(int32_t n, int32_t inverse, krn_cuda_head_rotation *rotation);

#endif
