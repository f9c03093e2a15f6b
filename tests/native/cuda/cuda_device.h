/* The device that tests of kernels_cuda run on: the emulator, or the GPU when KRN_CUDA_TEST_DEVICE is "driver". The names of
 * the kernels that were launched go to the file that KRN_CUDA_TEST_KERNELS names. */
#ifndef KRN_TEST_CUDA_DEVICE_H
#define KRN_TEST_CUDA_DEVICE_H

#include "check.h"
#include "kernels/kernels_cuda.h"

#ifdef __cplusplus
extern "C" {
#endif

/* The backend of the tests, as krn_cuda_context_options has it. */
const krn_cuda_backend *cuda_backend(void);

/* The classes that the device has, oldest first; returns their number (at most 4). Ends the program as skipped when
 * there is no device. */
int cuda_classes(int32_t classes[4]);

/* A context of a class; ends the test when it cannot be made. */
krn_cuda_context *cuda_context_of(int32_t architecture);

/* Device memory of `bytes` bytes, on both sides of it red zones that cuda_free_all checks, filled with 0xA5. */
void *cuda_allocate(krn_cuda_context *context, int64_t bytes);

/* Device memory with a copy of `from`. */
void *cuda_copy_of(krn_cuda_context *context, const void *from, int64_t bytes);

/* Copies from the device, after all work of the default stream. Fails the test with the fault of a kernel, if there was one. */
void cuda_read(krn_cuda_context *context, void *to, const void *device_from, int64_t bytes);

/* Frees all memory of cuda_allocate, and fails the test when something was written outside of it. */
void cuda_free_all(krn_cuda_context *context);

#ifdef __cplusplus
}
#endif

#endif
