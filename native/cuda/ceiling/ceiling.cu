/* Loops over memory: 16 bytes a thread, neighbours side by side, four accesses under way before the first is used. */
#include "cuda/ceiling/ceiling_params.h"
#include "cuda/ptx/arithmetic.h"
#include "cuda/ptx/memory.h"
#include "cuda/ptx/warp.h"

namespace {

constexpr int32_t THREADS = KRN_CUDA_CEILING_THREADS;
constexpr int32_t BLOCKS_PER_SM = KRN_CUDA_CEILING_BLOCKS_PER_SM;
constexpr int32_t AHEAD = 4;

/* Calls `body` with the index of each vector that is this thread's, AHEAD at a time where so many are left. */
template <class Body> KRN_DEVICE void for_vectors(int64_t vectors, Body body) {
    const int64_t threads = static_cast<int64_t>(ptx::grid_x()) * THREADS;
    int64_t i = static_cast<int64_t>(ptx::block_x()) * THREADS + ptx::thread_x();
    for (; i + (AHEAD - 1) * threads < vectors; i += AHEAD * threads)
        body(i, threads, AHEAD);
    for (; i < vectors; i += threads)
        body(i, threads, 1);
}

KRN_DEVICE uint32_t triad(uint32_t a, uint32_t b) {
    return ptx::bits_as<uint32_t>(ptx::fma_rn(ptx::bits_as<float>(b), 3.0f, ptx::bits_as<float>(a)));
}

} // namespace

KRN_KERNEL(krn_ceiling_read, krn_cuda_ceiling_params, THREADS, BLOCKS_PER_SM) {
    const auto *const a = static_cast<const ptx::U32x4 *>(p.a);
    uint32_t seen = 0;
    for_vectors(p.vectors, [&](int64_t first, int64_t step, int32_t count) {
        ptx::U32x4 x[AHEAD] = {};
        KRN_UNROLL_ALL
        for (int32_t j = 0; j < AHEAD; j++)
            if (j < count)
                x[j] = ptx::load_global_streaming(a + first + j * step);
        KRN_UNROLL_ALL
        for (int32_t j = 0; j < AHEAD; j++)
            seen |= x[j].x | x[j].y | x[j].z | x[j].w;
    });
    seen = ptx::reduce_or(seen);
    if (ptx::lane() == 0)
        ptx::store_global(static_cast<uint32_t *>(p.to) + ptx::block_x() * (THREADS / 32) + ptx::warp(), seen);
}

KRN_KERNEL(krn_ceiling_copy, krn_cuda_ceiling_params, THREADS, BLOCKS_PER_SM) {
    const auto *const a = static_cast<const ptx::U32x4 *>(p.a);
    auto *const to = static_cast<ptx::U32x4 *>(p.to);
    for_vectors(p.vectors, [&](int64_t first, int64_t step, int32_t count) {
        ptx::U32x4 x[AHEAD] = {};
        KRN_UNROLL_ALL
        for (int32_t j = 0; j < AHEAD; j++)
            if (j < count)
                x[j] = ptx::load_global_streaming(a + first + j * step);
        KRN_UNROLL_ALL
        for (int32_t j = 0; j < AHEAD; j++)
            if (j < count)
                ptx::store_global(to + first + j * step, x[j]);
    });
}

KRN_KERNEL(krn_ceiling_triad, krn_cuda_ceiling_params, THREADS, BLOCKS_PER_SM) {
    const auto *const a = static_cast<const ptx::U32x4 *>(p.a);
    const auto *const b = static_cast<const ptx::U32x4 *>(p.b);
    auto *const to = static_cast<ptx::U32x4 *>(p.to);
    for_vectors(p.vectors, [&](int64_t first, int64_t step, int32_t count) {
        ptx::U32x4 x[AHEAD] = {}, y[AHEAD] = {};
        KRN_UNROLL_ALL
        for (int32_t j = 0; j < AHEAD; j++) {
            if (j >= count)
                continue;
            x[j] = ptx::load_global_streaming(a + first + j * step);
            y[j] = ptx::load_global_streaming(b + first + j * step);
        }
        KRN_UNROLL_ALL
        for (int32_t j = 0; j < AHEAD; j++) {
            if (j >= count)
                continue;
            const ptx::U32x4 z = {triad(x[j].x, y[j].x), triad(x[j].y, y[j].y), triad(x[j].z, y[j].z),
                                  triad(x[j].w, y[j].w)};
            ptx::store_global(to + first + j * step, z);
        }
    });
}
