/* The state of a device of the driver, shared by the files of its backend. */
#ifndef KRN_CUDA_DRIVER_STATE_H
#define KRN_CUDA_DRIVER_STATE_H

#include "cuda/common/backend.h"
#include "cuda/common/driver_api.h"

enum { KRN_CUDA_NAME_BYTES = 128 };

typedef struct krn_cuda_driver_kernel {
    const char *name;
    void *function; /* NULL where no machine code fits the device */
} krn_cuda_driver_kernel;

typedef struct krn_cuda_driver_state {
    krn_cu_api api;
    int32_t device;
    int32_t driver_version;
    void *context; /* the primary context of the device */
    void **modules;
    int32_t module_count;
    krn_cuda_driver_kernel *kernels; /* sorted by name */
    int32_t kernel_count;
    char name[KRN_CUDA_NAME_BYTES];
} krn_cuda_driver_state;

/* Turns a result of the driver into a status; the sentence says which function it was and how the driver names it. */
krn_status krn_cuda_driver_check(const krn_cu_api *api, int32_t result, const char *function);

/* Makes the state's context current. `leave` puts the calling thread's own back: a host may have one. */
krn_status krn_cuda_driver_enter(const krn_cuda_driver_state *state, int32_t *pushed);
void krn_cuda_driver_leave(const krn_cuda_driver_state *state, int32_t pushed);

/* Members of the backend. */
krn_status krn_cuda_driver_allocate(void *opaque, int64_t bytes, void **memory);
krn_status krn_cuda_driver_release(void *opaque, void *memory);
krn_status krn_cuda_driver_copy_to_device(void *opaque, void *to, const void *from, int64_t bytes, void *stream);
krn_status krn_cuda_driver_copy_to_host(void *opaque, void *to, const void *from, int64_t bytes, void *stream);
krn_status krn_cuda_driver_copy_on_device(void *opaque, void *to, const void *from, int64_t bytes, void *stream);
krn_status krn_cuda_driver_set(void *opaque, void *memory, uint8_t value, int64_t bytes, void *stream);
krn_status krn_cuda_driver_stream_create(void *opaque, void **stream);
krn_status krn_cuda_driver_stream_destroy(void *opaque, void *stream);
krn_status krn_cuda_driver_stream_synchronize(void *opaque, void *stream);

#endif
