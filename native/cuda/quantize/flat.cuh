/* The walk of threads over rows that share nothing (krn_cuda_flat_plan). */
#ifndef KRN_CUDA_FLAT_H
#define KRN_CUDA_FLAT_H

#include "cuda/common/elements.cuh"
#include "cuda/quantize/quantize_params.h"

namespace kernels {

/* Calls visit(row, i) for every KRN_CUDA_FLAT_ELEMS elements from i on that are this thread's. */
template <class Visit> KRN_DEVICE void walk(const krn_cuda_flat_plan &plan, Visit visit) {
    const int32_t rows_per_block = KRN_CUDA_FLAT_THREADS / plan.row_threads;
    const int32_t rank = (ptx::thread_x() & (plan.row_threads - 1)) + plan.row_threads * ptx::block_y();
    const int64_t step = KRN_CUDA_FLAT_ELEMS * static_cast<int64_t>(plan.row_threads) * ptx::grid_y();
    for (int64_t row = static_cast<int64_t>(ptx::block_x()) * rows_per_block + ptx::thread_x() / plan.row_threads;
         row < plan.rows; row += static_cast<int64_t>(ptx::grid_x()) * rows_per_block)
        for (int64_t i = KRN_CUDA_FLAT_ELEMS * rank; i < plan.cols; i += step)
            visit(row, static_cast<int32_t>(i));
}

} // namespace kernels

#endif
