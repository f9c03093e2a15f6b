/* What doors ask of a device. Two implementations: the CUDA driver (driver.h) and the emulator (emulator/).
 *
 * A backend is constant and shared; `open` gives the state of one device, which the other functions take. Each returns a
 * status and has recorded its sentence with krn_fail. Streams, device memory and errors behave as kernels/cuda.h says.
 * The emulator runs a kernel within `launch` and may report its fault there.
 */
#ifndef KRN_CUDA_BACKEND_H
#define KRN_CUDA_BACKEND_H

#include "kernels/cuda.h"

#ifdef __cplusplus
extern "C" {
#endif

/* One kernel launch. The kernel takes one parameter, a trivially copyable struct, which is copied. */
typedef struct krn_cuda_launch {
    const char *kernel;    /* its exported name */
    uint32_t grid[3];      /* blocks */
    uint32_t block[3];     /* threads of a block */
    uint32_t cluster[3];   /* blocks of a cluster; all 0 for none */
    uint32_t shared_bytes; /* dynamic shared memory of a block; there is no other */
    uint32_t params_bytes;
    const void *params;
} krn_cuda_launch;

/* How shared memory is laid out by a bulk tensor copy: 16-byte chunks exchanged within rows of so many bytes. */
enum krn_cuda_swizzle {
    KRN_CUDA_SWIZZLE_NONE = 0,
    KRN_CUDA_SWIZZLE_32 = 32,
    KRN_CUDA_SWIZZLE_64 = 64,
    KRN_CUDA_SWIZZLE_128 = 128,
};

enum { KRN_CUDA_TENSOR_MAP_BYTES = 128, KRN_CUDA_TENSOR_MAP_ALIGNMENT = 64, KRN_CUDA_TENSOR_MAX_RANK = 5 };

/* A tensor in global memory as the copy engine sees it. What lies outside reads as zeros and is not written. */
typedef struct krn_cuda_tensor_map_desc {
    void *address;                                    /* device memory, 16-byte aligned */
    uint64_t sizes[KRN_CUDA_TENSOR_MAX_RANK];         /* elements, innermost first */
    uint64_t strides_bytes[KRN_CUDA_TENSOR_MAX_RANK]; /* [0] is not read (= element_bytes); others multiples of 16 */
    uint32_t box[KRN_CUDA_TENSOR_MAX_RANK];           /* elements of one copy, at most 256 each */
    int32_t rank;                                     /* 1..5 */
    int32_t element_bytes;                            /* 1, 2, 4 or 8; copies move bits, whatever they mean */
    int32_t swizzle; /* a krn_cuda_swizzle; box[0] * element_bytes must not exceed it */
    int32_t reserved;
} krn_cuda_tensor_map_desc;

struct krn_cuda_backend {
    uint32_t struct_size;
    uint32_t is_emulator; /* 1 or 0 */
    const char *name;     /* "driver", "emulator" */

    krn_status (*device_count)(int32_t *count);
    krn_status (*open)(int32_t device, void **state); /* loads every kernel */
    void (*close)(void *state);                       /* NULL is fine */
    krn_status (*properties)(void *state, krn_cuda_properties *properties);

    krn_status (*allocate)(void *state, int64_t bytes, void **device_memory);
    krn_status (*release)(void *state, void *device_memory);
    krn_status (*copy_to_device)(void *state, void *to, const void *from, int64_t bytes, void *stream);
    krn_status (*copy_to_host)(void *state, void *to, const void *from, int64_t bytes, void *stream);
    krn_status (*copy_on_device)(void *state, void *to, const void *from, int64_t bytes, void *stream);
    krn_status (*set)(void *state, void *memory, uint8_t value, int64_t bytes, void *stream);

    krn_status (*stream_create)(void *state, void **stream);
    krn_status (*stream_destroy)(void *state, void *stream);
    krn_status (*stream_synchronize)(void *state, void *stream);

    krn_status (*launch)(void *state, const krn_cuda_launch *launch, void *stream);
    /* Writes KRN_CUDA_TENSOR_MAP_BYTES to `map`, which is aligned to KRN_CUDA_TENSOR_MAP_ALIGNMENT. */
    krn_status (*tensor_map)(void *state, void *map, const krn_cuda_tensor_map_desc *desc);
};

#ifdef __cplusplus
}
#endif

#endif
