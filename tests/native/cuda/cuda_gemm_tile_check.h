/* Which tile of the sm_90a prefill kernels a device chooses. */
#ifndef KRN_TEST_CUDA_GEMM_TILE_CHECK_H
#define KRN_TEST_CUDA_GEMM_TILE_CHECK_H

#include "cuda/common/context.h"
#include "cuda/gemm/gemm_heuristics.h"
#include "gemm_case.h"

/* Fails unless m rows of the shape go through TMA, in tiles of so many tokens. */
static inline void check_tile(const krn_cuda_context *device, const gemm_shape *shape, int64_t m, int32_t tokens) {
    const krn_weights_desc desc = {.struct_size = sizeof desc,
                                   .format = shape->format,
                                   .n = shape->n,
                                   .k = shape->k,
                                   .group_size = shape->group_size};
    krn_cuda_weights_layout layout;
    krn_cuda_gemm_plan plan;
    krn_cuda_weights_place(&desc, 0, &layout);
    krn_cuda_gemm_make_plan(&layout, shape->activation_type, m, &device->properties, device->architecture, &plan);
    CHECK(plan.uses_tma && plan.tokens == tokens, "m %lld n %lld: %s", (long long)m, (long long)shape->n, plan.kernel);
}

#endif
