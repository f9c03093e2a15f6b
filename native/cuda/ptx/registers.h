/* How many registers the threads of a warpgroup have: producers give theirs to those that multiply. All warps of the
 * warpgroup say it, at the top of their branch; the kernel has __launch_bounds__(threads, 1). A multiple of 8.
 * sm_90a. */
#ifndef KRN_PTX_REGISTERS_H
#define KRN_PTX_REGISTERS_H

#include "cuda/ptx/kernel.h"

namespace ptx {

template <int32_t registers> KRN_DEVICE void keep_registers() {
    static_assert(registers % 8 == 0 && registers >= 24 && registers <= 256, "no such number of registers");
#if defined(__CUDACC__)
    asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;" ::"n"(registers));
#endif
}

template <int32_t registers> KRN_DEVICE void take_registers() {
    static_assert(registers % 8 == 0 && registers >= 24 && registers <= 256, "no such number of registers");
#if defined(__CUDACC__)
    asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;" ::"n"(registers));
#endif
}

} // namespace ptx

#endif
