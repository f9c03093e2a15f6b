/* Bulk copies: one thread asks, the copy engine does it. Loads tell an mbarrier the bytes that have landed, which
 * whoever waits on it must have expected (mbarrier_arrive_expect); stores are waited for in groups, by the thread that
 * asked. The engine reads and writes shared memory through a proxy of its own: what threads have written reaches it
 * only past fence_proxy_async, by each thread that wrote, before the barrier that comes before the copy. sm_90. */
#ifndef KRN_PTX_TMA_H
#define KRN_PTX_TMA_H

#include "cuda/common/tensor_map.h"
#include "cuda/ptx/memory.h"

#if !defined(__CUDACC__)
#include "cuda/emulator/asynchronous.h"
#endif

namespace ptx {

#if defined(__CUDACC__)

/* Between this thread's accesses to shared memory and those of the copy engine and of wgmma. */
KRN_DEVICE void fence_proxy_async() { asm volatile("fence.proxy.async.shared::cta;" ::: "memory"); }

/* `bytes` bytes in one piece; all three are multiples of 16. */
KRN_DEVICE void bulk_load(SharedAddress to, const void *from, int32_t bytes, SharedAddress mbarrier) {
    asm volatile("cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1], %2, [%3];" ::"r"(to),
                 "l"(from), "r"(bytes), "r"(mbarrier)
                 : "memory");
}

KRN_DEVICE void bulk_store(void *to, SharedAddress from, int32_t bytes) {
    asm volatile("cp.async.bulk.global.shared::cta.bulk_group [%0], [%1], %2;" ::"l"(to), "r"(from), "r"(bytes)
                 : "memory");
}

/* The box of a tensor map at (x, y, ...), innermost first. `to` is a multiple of 128, with a swizzle of 8 of its rows.
 * What lies outside of the tensor arrives as zeros, and counts as bytes. */
KRN_DEVICE void tma_load_2d(SharedAddress to, const krn_cuda_tensor_map *map, SharedAddress mbarrier, int32_t x,
                            int32_t y) {
    asm volatile("cp.async.bulk.tensor.2d.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1, {%3, %4}], "
                 "[%2];" ::"r"(to),
                 "l"(map), "r"(mbarrier), "r"(x), "r"(y)
                 : "memory");
}

KRN_DEVICE void tma_load_3d(SharedAddress to, const krn_cuda_tensor_map *map, SharedAddress mbarrier, int32_t x,
                            int32_t y, int32_t z) {
    asm volatile("cp.async.bulk.tensor.3d.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1, {%3, %4, "
                 "%5}], [%2];" ::"r"(to),
                 "l"(map), "r"(mbarrier), "r"(x), "r"(y), "r"(z)
                 : "memory");
}

/* Writes the part of the box that lies within the tensor. */
KRN_DEVICE void tma_store_2d(const krn_cuda_tensor_map *map, SharedAddress from, int32_t x, int32_t y) {
    asm volatile("cp.async.bulk.tensor.2d.global.shared::cta.bulk_group [%0, {%2, %3}], [%1];" ::"l"(map), "r"(from),
                 "r"(x), "r"(y)
                 : "memory");
}

/* Has the descriptor fetched ahead. */
KRN_DEVICE void prefetch_tensor_map(const krn_cuda_tensor_map *map) {
    asm volatile("prefetch.tensormap [%0];" ::"l"(map) : "memory");
}

/* Ends a group of stores of this thread. */
KRN_DEVICE void bulk_commit() { asm volatile("cp.async.bulk.commit_group;" ::: "memory"); }

/* Waits until at most `pending` of the newest groups still read shared memory. */
template <int32_t pending> KRN_DEVICE void bulk_wait_read() {
    asm volatile("cp.async.bulk.wait_group.read %0;" ::"n"(pending) : "memory");
}

/* Waits until at most `pending` of the newest groups are not in global memory yet. */
template <int32_t pending> KRN_DEVICE void bulk_wait() {
    asm volatile("cp.async.bulk.wait_group %0;" ::"n"(pending) : "memory");
}

#else

KRN_DEVICE void fence_proxy_async() { emulator::fence_proxy_async(); }
KRN_DEVICE void bulk_load(SharedAddress to, const void *from, int32_t bytes, SharedAddress mbarrier) {
    emulator::bulk_load(to, from, bytes, mbarrier);
}
KRN_DEVICE void bulk_store(void *to, SharedAddress from, int32_t bytes) { emulator::bulk_store(to, from, bytes); }
KRN_DEVICE void tma_load_2d(SharedAddress to, const krn_cuda_tensor_map *map, SharedAddress mbarrier, int32_t x,
                            int32_t y) {
    emulator::tensor_load(to, map, mbarrier, 2, {x, y});
}
KRN_DEVICE void tma_load_3d(SharedAddress to, const krn_cuda_tensor_map *map, SharedAddress mbarrier, int32_t x,
                            int32_t y, int32_t z) {
    emulator::tensor_load(to, map, mbarrier, 3, {x, y, z});
}
KRN_DEVICE void tma_store_2d(const krn_cuda_tensor_map *map, SharedAddress from, int32_t x, int32_t y) {
    emulator::tensor_store(map, from, 2, {x, y});
}
KRN_DEVICE void prefetch_tensor_map(const krn_cuda_tensor_map *) {}
KRN_DEVICE void bulk_commit() { emulator::bulk_commit(); }
template <int32_t pending> KRN_DEVICE void bulk_wait_read() { emulator::bulk_wait(pending); }
template <int32_t pending> KRN_DEVICE void bulk_wait() { emulator::bulk_wait(pending); }

#endif

} // namespace ptx

#endif
