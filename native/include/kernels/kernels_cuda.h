/* The public interface of the CUDA kernel library: one header per op, and those of the CPU library, whose options, types
 * and packed weights they share. */
#ifndef KERNELS_KERNELS_CUDA_H
#define KERNELS_KERNELS_CUDA_H

#include "kernels/cuda.h"
#include "kernels/cuda_attention.h"
#include "kernels/cuda_ceiling.h"
#include "kernels/cuda_fused.h"
#include "kernels/cuda_gemm.h"
#include "kernels/cuda_hadamard.h"
#include "kernels/cuda_kv_cache.h"
#include "kernels/cuda_quantize.h"
#include "kernels/kernels.h"

#endif
