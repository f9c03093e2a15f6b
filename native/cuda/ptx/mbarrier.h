/* mbarrier: a barrier in 8 bytes of shared memory (at a multiple of 8), for producers and consumers that need not be
 * whole warps. A phase ends when the expected number of threads has arrived and all bytes that copies were to bring
 * have landed; then the next begins. Phases have parities 0, 1, 0, ...: who waits names the parity of the phase that it
 * waits for. What came before an arrival, and what copies have brought, is seen by who has waited. sm_90. */
#ifndef KRN_PTX_MBARRIER_H
#define KRN_PTX_MBARRIER_H

#include "cuda/ptx/memory.h"

#if !defined(__CUDACC__)
#include "cuda/emulator/asynchronous.h"
#endif

namespace ptx {

#if defined(__CUDACC__)

/* By one thread, before a barrier of the block; `arrivals` end a phase. */
KRN_DEVICE void mbarrier_init(SharedAddress mbarrier, int32_t arrivals) {
    asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(mbarrier), "r"(arrivals) : "memory");
}

/* After the last mbarrier_init and before the barrier of the block: the copy engine sees them, too. */
KRN_DEVICE void fence_mbarrier_init() { asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory"); }

KRN_DEVICE void mbarrier_arrive(SharedAddress mbarrier) {
    asm volatile("{\n.reg .b64 state;\nmbarrier.arrive.shared::cta.b64 state, [%0];\n}" ::"r"(mbarrier) : "memory");
}

/* Arrives, and adds `bytes` to what copies are to bring in this phase. */
KRN_DEVICE void mbarrier_arrive_expect(SharedAddress mbarrier, int32_t bytes) {
    asm volatile("{\n.reg .b64 state;\nmbarrier.arrive.expect_tx.shared::cta.b64 state, [%0], %1;\n}" ::"r"(mbarrier),
                 "r"(bytes)
                 : "memory");
}

/* Whether the phase of that parity has ended; may sleep a little first. */
KRN_DEVICE bool mbarrier_try_wait(SharedAddress mbarrier, int32_t parity) {
    uint32_t done;
    asm volatile("{\n.reg .pred p;\nmbarrier.try_wait.parity.shared::cta.b64 p, [%1], %2;\nselp.u32 %0, 1, 0, p;\n}"
                 : "=r"(done)
                 : "r"(mbarrier), "r"(parity)
                 : "memory");
    return done != 0;
}

#else

KRN_DEVICE void mbarrier_init(SharedAddress mbarrier, int32_t arrivals) { emulator::mbarrier_init(mbarrier, arrivals); }
KRN_DEVICE void fence_mbarrier_init() {}
KRN_DEVICE void mbarrier_arrive(SharedAddress mbarrier) { emulator::mbarrier_arrive(mbarrier, 0); }
KRN_DEVICE void mbarrier_arrive_expect(SharedAddress mbarrier, int32_t bytes) {
    emulator::mbarrier_arrive(mbarrier, bytes);
}
KRN_DEVICE bool mbarrier_try_wait(SharedAddress mbarrier, int32_t parity) {
    return emulator::mbarrier_wait(mbarrier, parity);
}

#endif

/* Waits until the phase of that parity has ended. */
KRN_DEVICE void mbarrier_wait(SharedAddress mbarrier, int32_t parity) {
    while (!mbarrier_try_wait(mbarrier, parity))
        continue;
}

} // namespace ptx

#endif
