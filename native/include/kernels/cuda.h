/* CUDA: devices, contexts, memory and streams. The ops are in headers of their own, cuda_<op>.h; kernels_cuda.h has all.
 *
 * The library `kernels_cuda` needs nothing but the CUDA driver at run time (libcuda.so.1, nvcuda.dll), which is looked
 * for when the first context on a device is made. It takes options, types and packed weights from `kernels_cpu`, whose
 * krn_last_error() also tells what went wrong here.
 *
 * Conventions of all ops on a device
 *   - Tensors and workspaces are device memory. Every call puts its work on `stream`, its last argument, and returns:
 *     nothing synchronises, nothing is allocated, and calls may be captured into a CUDA graph. A stream is a CUstream;
 *     NULL is the default stream.
 *   - What only the data can tell, such as a value that is not finite, cannot be a status of a call that does not wait.
 *     Such ops take `int32_t *device_flags`, a word of device memory into which kernels OR bits of krn_cuda_flag; the
 *     caller clears and reads it when it likes. NULL when nobody wants to know.
 *   - Tensors need 16-byte alignment, workspaces 256 bytes, unless an op says otherwise. Memory of krn_cuda_memory_allocate
 *     and of the driver's own allocators has both.
 *   - Several threads may use one context at once, each with workspaces of its own. A context keeps the device's primary
 *     CUDA context, the one that the CUDA runtime uses too, and leaves the calling thread's current context as it was.
 *
 * A context can also run on an emulator that executes the same kernels on the CPU (krn_cuda_context_options.backend).
 */
#ifndef KERNELS_CUDA_H
#define KERNELS_CUDA_H

#include "kernels/common.h"

/* How a public function of kernels_cuda is declared. */
#if defined(_WIN32) && !defined(KRN_STATIC) && defined(KRN_BUILDING_CUDA_LIBRARY)
#define KRN_CUDA_API __declspec(dllexport)
#else
#define KRN_CUDA_API KRN_API
#endif

#ifdef __cplusplus
extern "C" {
#endif

/** Architecture classes of kernels, each with instructions that the one before lacks. The numbers are pinned. */
enum krn_cuda_class {
    /** The best class that the device has. */
    KRN_CUDA_CLASS_AUTO = 0,
    /** Compute capability 8.0 and newer: mma.sync and cp.async. */
    KRN_CUDA_CLASS_SM80 = 80,
    /** Compute capability 9.0: KRN_CUDA_CLASS_SM80 and warpgroup matrix products (wgmma) fed by bulk tensor copies. */
    KRN_CUDA_CLASS_SM90A = 90,
};

/** Bits that kernels OR into `device_flags`. */
enum krn_cuda_flag {
    /** An input held NaN or infinity where finite values are required. What was written for its row is undefined. */
    KRN_CUDA_FLAG_NON_FINITE = 1,
    /** A sequence did not fit its pages, or named a page that is none. */
    KRN_CUDA_FLAG_PAGES = 2,
    /** A token has a position that a table of RoPE lacks. Its key was stored as it was. */
    KRN_CUDA_FLAG_POSITIONS = 4,
};

/** A device of an implementation: the driver's, or the emulator's. Opaque. */
typedef struct krn_cuda_backend krn_cuda_backend;

/** A device, the kernels loaded onto it, and the class that is used. Opaque. */
typedef struct krn_cuda_context krn_cuda_context;

/** How krn_cuda_context_create makes a context. */
typedef struct krn_cuda_context_options {
    /** sizeof(krn_cuda_context_options). */
    uint32_t struct_size;
    /** Number of the device, as the driver counts. Default 0. */
    int32_t device;
    /** A krn_cuda_class. Default KRN_CUDA_CLASS_AUTO. */
    int32_t architecture;
    /** Must be 0. */
    int32_t reserved;
    /** NULL for the CUDA driver, or what krn_cuda_emulator() of the library `kernels_cuda_emulator` returns. */
    const krn_cuda_backend *backend;
} krn_cuda_context_options;

/** What a device has. */
typedef struct krn_cuda_properties {
    /** sizeof(krn_cuda_properties), set by the caller. */
    uint32_t struct_size;
    /** Major number of the compute capability. */
    int32_t compute_major;
    /** Minor number of the compute capability. */
    int32_t compute_minor;
    /** Streaming multiprocessors. */
    int32_t multiprocessors;
    /** Shared memory that one block can have at most. */
    int32_t shared_bytes_per_block;
    /** Shared memory of a multiprocessor. */
    int32_t shared_bytes_per_multiprocessor;
    /** Threads that a multiprocessor can hold. */
    int32_t threads_per_multiprocessor;
    /** 32-bit registers of a multiprocessor. */
    int32_t registers_per_multiprocessor;
    /** Second-level cache. */
    int64_t l2_bytes;
    /** Device memory. */
    int64_t memory_bytes;
    /** Highest clock of the multiprocessors. */
    int32_t clock_khz;
    /** Highest clock of the memory. */
    int32_t memory_clock_khz;
    /** Width of the memory bus. */
    int32_t memory_bus_bits;
    /** Version of the CUDA driver's interface, 1000 * major + 10 * minor; 0 on the emulator. */
    int32_t driver_version;
    /** Name of the device, such as "NVIDIA H200". Valid as long as the context. */
    const char *name;
} krn_cuda_properties;

/** KRN_ABI_VERSION of the library that was loaded. */
KRN_CUDA_API uint32_t krn_cuda_abi_version(void);

/** Compiler, build type and target of the library, and the toolkit and architectures of the kernels in it, one line.
 *  Never NULL. */
KRN_CUDA_API const char *krn_cuda_build_info(void);

/** The number of kernels that the library holds for devices; 0 when it was built without nvcc. */
KRN_CUDA_API int32_t krn_cuda_kernel_count(void);

/** Counts the devices of a backend; NULL for the driver's.
 *  Errors: KRN_ERROR_DRIVER_UNAVAILABLE (no driver, or one that is too old), KRN_ERROR_DEVICE. */
KRN_CUDA_API krn_status krn_cuda_device_count(const krn_cuda_backend *backend, int32_t *count);

/** Makes a context and loads the kernels onto the device. `options` may be NULL for all defaults.
 *  Errors: KRN_ERROR_DRIVER_UNAVAILABLE, KRN_ERROR_NO_DEVICE (no device of that number), KRN_ERROR_UNSUPPORTED (a device
 *  older than every class, or a library built without kernels), KRN_ERROR_ISA_UNAVAILABLE when the device lacks the
 *  class that was asked for (never a silent fallback), KRN_ERROR_DEVICE. */
KRN_CUDA_API krn_status krn_cuda_context_create(const krn_cuda_context_options *options, krn_cuda_context **context);

/** Frees the context. NULL is fine. Work on its streams must have ended. */
KRN_CUDA_API void krn_cuda_context_destroy(krn_cuda_context *context);

/** The krn_cuda_class of a context; never KRN_CUDA_CLASS_AUTO. KRN_CUDA_CLASS_SM80 for NULL. */
KRN_CUDA_API int32_t krn_cuda_context_class(const krn_cuda_context *context);

/** Whether the context runs on the emulator: 1 or 0. 0 for NULL. */
KRN_CUDA_API int32_t krn_cuda_context_is_emulated(const krn_cuda_context *context);

/** Tells what the context's device has. `properties->struct_size` must be set. */
KRN_CUDA_API krn_status krn_cuda_context_properties(const krn_cuda_context *context, krn_cuda_properties *properties);

/** Lower-case name of a class ("auto", "sm80", "sm90a"); NULL for a number that is not one. */
KRN_CUDA_API const char *krn_cuda_class_name(int32_t architecture);

/** Allocates `bytes` bytes of device memory, aligned to 256 bytes. May synchronise. 0 bytes gives NULL and KRN_OK.
 *  Errors: KRN_ERROR_INVALID_ARGUMENT (negative), KRN_ERROR_OUT_OF_MEMORY, KRN_ERROR_DEVICE. */
KRN_CUDA_API krn_status krn_cuda_memory_allocate(krn_cuda_context *context, int64_t bytes, void **device_memory);

/** Frees memory of krn_cuda_memory_allocate; may synchronise. NULL memory is fine. */
KRN_CUDA_API krn_status krn_cuda_memory_free(krn_cuda_context *context, void *device_memory);

/** Copies from host to device, in the order of the stream. `from` is free for use when the stream has come to it;
 *  from pageable memory, when the call returns. */
KRN_CUDA_API krn_status krn_cuda_memory_copy_to_device(krn_cuda_context *context, void *device_to, const void *from,
                                                       int64_t bytes, void *stream);

/** Copies from device to host, in the order of the stream; `to` is valid when the stream has been synchronised. */
KRN_CUDA_API krn_status krn_cuda_memory_copy_to_host(krn_cuda_context *context, void *to, const void *device_from,
                                                     int64_t bytes, void *stream);

/** Copies on the device, in the order of the stream. */
KRN_CUDA_API krn_status krn_cuda_memory_copy_on_device(krn_cuda_context *context, void *device_to,
                                                       const void *device_from, int64_t bytes, void *stream);

/** Sets every byte to `value`, in the order of the stream. */
KRN_CUDA_API krn_status krn_cuda_memory_set(krn_cuda_context *context, void *device_memory, uint8_t value,
                                            int64_t bytes, void *stream);

/** Makes a stream that does not wait for the default stream. */
KRN_CUDA_API krn_status krn_cuda_stream_create(krn_cuda_context *context, void **stream);

/** Ends a stream of krn_cuda_stream_create. NULL is fine. */
KRN_CUDA_API krn_status krn_cuda_stream_destroy(krn_cuda_context *context, void *stream);

/** Waits until all work of the stream has ended. This is where a kernel that failed is told of:
 *  KRN_ERROR_DEVICE, on the emulator KRN_ERROR_KERNEL_FAULT. */
KRN_CUDA_API krn_status krn_cuda_stream_synchronize(krn_cuda_context *context, void *stream);

#ifdef __cplusplus
}
#endif

#endif
