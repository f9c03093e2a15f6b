/* One float cell of the GEMM on the device against the exact value in binary64. */
#ifndef KRN_TEST_CUDA_GEMM_FLOAT_CHECK_H
#define KRN_TEST_CUDA_GEMM_FLOAT_CHECK_H

#include "cuda_device.h"
#include "gemm_case.h"

/* Runs a case with float activations, whose results are to be within the bound of cuda_gemm.h and their padding as it
 * was; and, unless `few` is 0, its first rows alone, which are to have the same bits. */
void cuda_gemm_float_check(krn_cuda_context *device, krn_context *host, const gemm_shape *shape, int64_t few);

#endif
