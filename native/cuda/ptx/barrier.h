/* Barriers among the threads of a block. What the threads wrote to memory before a barrier, those that waited at it see
 * after it. A thread may not leave the kernel before a barrier of the whole block. */
#ifndef KRN_PTX_BARRIER_H
#define KRN_PTX_BARRIER_H

#include "cuda/ptx/kernel.h"

#if !defined(__CUDACC__)
#include "cuda/emulator/warp.h"
#endif

namespace ptx {

#if defined(__CUDACC__)

/* All threads of the block. */
KRN_DEVICE void sync_threads() { asm volatile("barrier.sync.aligned 0;" ::: "memory"); }

/* sync_threads that tells in how many threads `predicate` held. */
KRN_DEVICE int32_t sync_threads_count(bool predicate) { return __syncthreads_count(predicate); }

/* Named barrier `id` (1..15) of `threads` threads, a multiple of 32: waits for the others. */
KRN_DEVICE void barrier_sync(int32_t id, int32_t threads) {
    asm volatile("barrier.sync.aligned %0, %1;" ::"r"(id), "r"(threads) : "memory");
}

/* Counts as one of the threads of a named barrier and goes on: for who only hands something over. */
KRN_DEVICE void barrier_arrive(int32_t id, int32_t threads) {
    asm volatile("barrier.arrive.aligned %0, %1;" ::"r"(id), "r"(threads) : "memory");
}

#else

KRN_DEVICE void sync_threads() { emulator::barrier_sync(0, block_threads()); }
KRN_DEVICE int32_t sync_threads_count(bool predicate) { return emulator::barrier_count(predicate); }
KRN_DEVICE void barrier_sync(int32_t id, int32_t threads) { emulator::barrier_sync(id, threads); }
KRN_DEVICE void barrier_arrive(int32_t id, int32_t threads) { emulator::barrier_arrive(id, threads); }

#endif

} // namespace ptx

#endif
