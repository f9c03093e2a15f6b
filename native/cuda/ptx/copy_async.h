/* cp.async: copies from global to shared memory that a thread starts and later waits for, past the registers. What a
 * copy wrote can be read by the thread after its wait, by others after a barrier that follows the wait. */
#ifndef KRN_PTX_COPY_ASYNC_H
#define KRN_PTX_COPY_ASYNC_H

#include "cuda/ptx/memory.h"

namespace ptx {

#if defined(__CUDACC__)

/* 16 bytes past the first-level cache. Both addresses are multiples of 16. */
KRN_DEVICE void cp_async_16(SharedAddress to, const void *from) {
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" ::"r"(to), "l"(from) : "memory");
}

/* Reads valid_bytes (0..16) and writes zeros behind them: for what sticks out of a tensor. */
KRN_DEVICE void cp_async_16(SharedAddress to, const void *from, int32_t valid_bytes) {
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(to), "l"(from), "r"(valid_bytes) : "memory");
}

/* An L2 policy for what is read once, such as weights when tokens are few: first to leave. */
KRN_DEVICE uint64_t evict_first_policy() {
    uint64_t policy;
    asm("createpolicy.fractional.L2::evict_first.b64 %0, 1.0;" : "=l"(policy));
    return policy;
}

KRN_DEVICE void cp_async_16_with_policy(SharedAddress to, const void *from, uint64_t policy) {
    asm volatile("cp.async.cg.shared.global.L2::cache_hint [%0], [%1], 16, %2;" ::"r"(to), "l"(from), "l"(policy)
                 : "memory");
}

/* 8 and 4 bytes go through the first-level cache. */
KRN_DEVICE void cp_async_8(SharedAddress to, const void *from, int32_t valid_bytes) {
    asm volatile("cp.async.ca.shared.global [%0], [%1], 8, %2;" ::"r"(to), "l"(from), "r"(valid_bytes) : "memory");
}

/* Ends a group: all copies of this thread since the last group. */
KRN_DEVICE void cp_async_commit() { asm volatile("cp.async.commit_group;" ::: "memory"); }

/* Waits until at most `pending` of this thread's newest groups are in flight. */
template <int32_t pending> KRN_DEVICE void cp_async_wait() {
    asm volatile("cp.async.wait_group %0;" ::"n"(pending) : "memory");
}

/* Waits for all copies of this thread. */
KRN_DEVICE void cp_async_wait_all() { asm volatile("cp.async.wait_all;" ::: "memory"); }

#else

KRN_DEVICE void cp_async_16(SharedAddress to, const void *from) { emulator::copy_async(to, from, 16, 16); }

KRN_DEVICE void cp_async_16(SharedAddress to, const void *from, int32_t valid_bytes) {
    emulator::copy_async(to, from, 16, static_cast<uint32_t>(valid_bytes));
}

KRN_DEVICE uint64_t evict_first_policy() { return 0; }

KRN_DEVICE void cp_async_16_with_policy(SharedAddress to, const void *from, uint64_t) {
    emulator::copy_async(to, from, 16, 16);
}

KRN_DEVICE void cp_async_8(SharedAddress to, const void *from, int32_t valid_bytes) {
    emulator::copy_async(to, from, 8, static_cast<uint32_t>(valid_bytes));
}

KRN_DEVICE void cp_async_commit() { emulator::copy_async_commit(); }

template <int32_t pending> KRN_DEVICE void cp_async_wait() {
    emulator::copy_async_wait(static_cast<uint32_t>(pending));
}

KRN_DEVICE void cp_async_wait_all() { emulator::copy_async_wait_all(); }

#endif

} // namespace ptx

#endif
