/* One GEMM on the device against kernels_cpu, bit for bit. */
#ifndef KRN_TEST_CUDA_GEMM_CHECK_H
#define KRN_TEST_CUDA_GEMM_CHECK_H

#include "cuda_device.h"
#include "gemm_case.h"

/* An adapter whose matrices are copied to the device. */
krn_lora cuda_lora_of(krn_cuda_context *device, const gemm_shape *s, const krn_lora *lora);

/* Runs a case with integer arithmetic on the device, and on `host`, whose padding of Y must come out the same too. */
void cuda_gemm_check(krn_cuda_context *device, krn_context *host, const gemm_case *c);

#endif
