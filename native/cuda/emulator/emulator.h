/* The library kernels_cuda_emulator: a device that is none, on which every kernel of kernels_cuda runs, from the same
 * source, on the CPU, and which finds faults that a GPU hides (docs/cuda.md). */
#ifndef KRN_EMULATOR_EMULATOR_H
#define KRN_EMULATOR_EMULATOR_H

#include "kernels/cuda.h"

#ifdef __cplusplus
extern "C" {
#endif

/* What krn_cuda_context_options.backend takes. Device 0 has compute capability 9.0, device 1 has 8.0. Never NULL. */
KRN_API const krn_cuda_backend *krn_cuda_emulator(void);

#ifdef __cplusplus
}
#endif

#endif
