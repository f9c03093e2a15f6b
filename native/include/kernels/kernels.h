/* The public interface of the CPU kernel library: one header per op. */
#ifndef KERNELS_KERNELS_H
#define KERNELS_KERNELS_H

#include "kernels/attention.h"
#include "kernels/ceiling.h"
#include "kernels/common.h"
#include "kernels/context.h"
#include "kernels/fused.h"
#include "kernels/gemm.h"
#include "kernels/hadamard.h"
#include "kernels/kv_cache.h"
#include "kernels/quantize.h"
#include "kernels/rope.h"
#include "kernels/weights.h"

#endif
