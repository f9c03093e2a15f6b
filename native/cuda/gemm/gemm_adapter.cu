/* What an adapter (krn_lora) needs before the product: the projections of X by A, and B as the epilogue reads it. */
#include "cuda/gemm/gemm_params.h"
#include "cuda/ptx/arithmetic.h"
#include "cuda/ptx/convert.h"
#include "cuda/ptx/memory.h"
#include "cuda/ptx/warp.h"
#include "kernels/common.h"

namespace gemm {

/* An element of a matrix of any float type. */
KRN_DEVICE float load_float(const void *data, int32_t type, int64_t at) {
    if (type == KRN_TYPE_F32)
        return ptx::load_global_nc(static_cast<const float *>(data) + at);
    const uint16_t half = ptx::load_global_nc(static_cast<const uint16_t *>(data) + at);
    return type == KRN_TYPE_F16 ? ptx::f32_from_f16(half) : ptx::f32_from_bf16(half);
}

/* Sums of 16 lanes, each of every 16th input in ascending order; behind K, zeros. A lane loads `steps` inputs of a row
 * before it adds them: chains are long, and there are few warps to hide what a load takes. */
template <int32_t rows, int32_t steps> KRN_DEVICE void project(const krn_cuda_project_params &p) {
    constexpr int32_t LANES = KRN_CUDA_PROJECT_LANES;
    const int32_t lane = ptx::thread_x() % LANES,
                  rank = ptx::block_y() * KRN_CUDA_PROJECT_RANKS + ptx::thread_x() / LANES;
    const int32_t first_row = ptx::block_x() * rows;
    const int64_t a_row = static_cast<int64_t>(rank < p.rank ? rank : p.rank - 1) * p.a_ld;
    float sums[rows] = {};
    for (int32_t first = lane; first < p.k + lane; first += steps * LANES) {
        float a[steps], x[rows][steps];
        KRN_UNROLL_ALL
        for (int32_t i = 0; i < steps; i++) {
            const int32_t k = first + i * LANES;
            a[i] = k < p.k ? load_float(p.a, p.a_type, a_row + k) : 0.0f;
            KRN_UNROLL_ALL
            for (int32_t r = 0; r < rows; r++)
                x[r][i] =
                    k < p.k && first_row + r < p.m ? load_float(p.x, p.x_type, (first_row + r) * p.x_ld + k) : 0.0f;
        }
        KRN_UNROLL_ALL
        for (int32_t i = 0; i < steps; i++)
            KRN_UNROLL_ALL
        for (int32_t r = 0; r < rows; r++)
            sums[r] = ptx::fma_rn(x[r][i], a[i], sums[r]);
    }
    KRN_UNROLL_ALL
    for (int32_t r = 0; r < rows; r++) {
        KRN_UNROLL_ALL
        for (uint32_t half = LANES / 2; half > 0; half /= 2)
            sums[r] = ptx::add_rn(sums[r], ptx::shuffle_down(sums[r], half));
        if (lane == 0 && rank < p.rank && first_row + r < p.m)
            ptx::store_global(p.to + (first_row + r) * p.to_ld + rank, ptx::mul_rn(sums[r], p.scale));
    }
}

KRN_DEVICE void turn_adapter(const krn_cuda_turn_params &p) {
    const int32_t channel = ptx::block_x() * KRN_CUDA_PREPARE_THREADS + ptx::thread_x();
    const int32_t first = ptx::block_y() * KRN_CUDA_PROJECT_RANKS;
    if (channel >= p.n)
        return;
    for (int32_t j = first; j < first + KRN_CUDA_PROJECT_RANKS && j < p.rank; j++)
        ptx::store_global(p.to + j * p.to_ld + channel, load_float(p.b, p.type, channel * p.b_ld + j));
}

} // namespace gemm

/* One row, many of whose inputs are on their way at once; or rows that share what is read of A. */
KRN_KERNEL(krn_gemm_project_row, krn_cuda_project_params, KRN_CUDA_PREPARE_THREADS, 2) { gemm::project<1, 16>(p); }
KRN_KERNEL(krn_gemm_project_rows, krn_cuda_project_params, KRN_CUDA_PREPARE_THREADS, 2) {
    gemm::project<KRN_CUDA_PROJECT_ROWS, 4>(p);
}
KRN_KERNEL(krn_gemm_turn_adapter, krn_cuda_turn_params, KRN_CUDA_PREPARE_THREADS, 4) { gemm::turn_adapter(p); }
