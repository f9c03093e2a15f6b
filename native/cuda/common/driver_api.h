/* What is used of the CUDA driver's interface (cuda.h of the toolkit), declared here so that building needs no toolkit.
 * Where one is at hand a test compares every declaration with it (tests/native/cuda/test_cuda_driver_api.c).
 */
#ifndef KRN_CUDA_DRIVER_API_H
#define KRN_CUDA_DRIVER_API_H

#include "kernels/common.h"

#include <stddef.h>

#if defined(_WIN32)
#define KRN_CUDA_DRIVER_LIBRARY "nvcuda.dll"
#else
#define KRN_CUDA_DRIVER_LIBRARY "libcuda.so.1"
#endif

/* The names and numbers are the driver's. */
enum {
    KRN_CU_SUCCESS = 0,
    KRN_CU_ERROR_OUT_OF_MEMORY = 2,
    KRN_CU_ERROR_NO_DEVICE = 100,
    KRN_CU_ERROR_NO_BINARY_FOR_GPU = 209,
    KRN_CU_ERROR_SYSTEM_DRIVER_MISMATCH = 803,
    KRN_CU_ERROR_COMPAT_NOT_SUPPORTED = 804,

    KRN_CU_CLOCK_RATE = 13,
    KRN_CU_MULTIPROCESSOR_COUNT = 16,
    KRN_CU_MEMORY_CLOCK_RATE = 36,
    KRN_CU_GLOBAL_MEMORY_BUS_WIDTH = 37,
    KRN_CU_L2_CACHE_SIZE = 38,
    KRN_CU_MAX_THREADS_PER_MULTIPROCESSOR = 39,
    KRN_CU_COMPUTE_CAPABILITY_MAJOR = 75,
    KRN_CU_COMPUTE_CAPABILITY_MINOR = 76,
    KRN_CU_MAX_SHARED_MEMORY_PER_MULTIPROCESSOR = 81,
    KRN_CU_MAX_REGISTERS_PER_MULTIPROCESSOR = 82,
    KRN_CU_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN = 97,

    KRN_CU_FUNC_SHARED_SIZE_BYTES = 1,
    KRN_CU_FUNC_MAX_DYNAMIC_SHARED_SIZE_BYTES = 8,

    KRN_CU_STREAM_NON_BLOCKING = 1,
    KRN_CU_LAUNCH_CLUSTER_DIMENSION = 4,

    KRN_CU_TENSOR_UINT8 = 0,
    KRN_CU_TENSOR_UINT16 = 1,
    KRN_CU_TENSOR_UINT32 = 2,
    KRN_CU_TENSOR_UINT64 = 4,
    KRN_CU_TENSOR_INTERLEAVE_NONE = 0,
    KRN_CU_TENSOR_SWIZZLE_NONE = 0,
    KRN_CU_TENSOR_SWIZZLE_32 = 1,
    KRN_CU_TENSOR_SWIZZLE_64 = 2,
    KRN_CU_TENSOR_SWIZZLE_128 = 3,
    KRN_CU_TENSOR_L2_PROMOTION_256 = 3,
    KRN_CU_TENSOR_OOB_FILL_ZERO = 0,
};

/* An attribute of a launch. The driver has a union of 64 bytes here. */
typedef struct krn_cu_launch_attribute {
    int32_t id;
    int32_t padding;
    uint32_t cluster[3];
    uint32_t rest_of_value[13];
} krn_cu_launch_attribute;

typedef struct krn_cu_launch_config {
    uint32_t grid[3];
    uint32_t block[3];
    uint32_t shared_bytes;
    void *stream;
    krn_cu_launch_attribute *attributes;
    uint32_t attribute_count;
} krn_cu_launch_config;

/* Device memory is an integer of 64 bits in this interface; every result is an int32_t, 0 for success. */
typedef struct krn_cu_api {
    int32_t (*init)(uint32_t flags);
    int32_t (*driver_get_version)(int32_t *version);
    int32_t (*get_error_name)(int32_t error, const char **name);
    int32_t (*get_error_string)(int32_t error, const char **text);
    int32_t (*device_get_count)(int32_t *count);
    int32_t (*device_get)(int32_t *device, int32_t ordinal);
    int32_t (*device_get_name)(char *name, int32_t length, int32_t device);
    int32_t (*device_get_attribute)(int32_t *value, int32_t attribute, int32_t device);
    int32_t (*device_total_memory)(size_t *bytes, int32_t device);
    int32_t (*primary_context_retain)(void **context, int32_t device);
    int32_t (*primary_context_release)(int32_t device);
    int32_t (*context_get_current)(void **context);
    int32_t (*context_push_current)(void *context);
    int32_t (*context_pop_current)(void **context);
    int32_t (*module_load_data)(void **module, const void *image);
    int32_t (*module_unload)(void *module);
    int32_t (*module_get_function)(void **function, void *module, const char *name);
    int32_t (*function_get_attribute)(int32_t *value, int32_t attribute, void *function);
    int32_t (*function_set_attribute)(void *function, int32_t attribute, int32_t value);
    int32_t (*memory_allocate)(uint64_t *address, size_t bytes);
    int32_t (*memory_free)(uint64_t address);
    int32_t (*copy_to_device)(uint64_t to, const void *from, size_t bytes, void *stream);
    int32_t (*copy_to_host)(void *to, uint64_t from, size_t bytes, void *stream);
    int32_t (*copy_on_device)(uint64_t to, uint64_t from, size_t bytes, void *stream);
    int32_t (*memory_set)(uint64_t address, uint8_t value, size_t bytes, void *stream);
    int32_t (*stream_create)(void **stream, uint32_t flags);
    int32_t (*stream_destroy)(void *stream);
    int32_t (*stream_synchronize)(void *stream);
    int32_t (*launch_kernel)(const krn_cu_launch_config *config, void *function, void **params, void **extra);
    int32_t (*tensor_map_encode_tiled)(void *map, int32_t type, uint32_t rank, void *address, const uint64_t *sizes,
                                       const uint64_t *strides_bytes, const uint32_t *box,
                                       const uint32_t *element_strides, int32_t interleave, int32_t swizzle,
                                       int32_t l2_promotion, int32_t oob_fill);
} krn_cu_api;

/* Loads the driver and finds every function of `api` in it, by the names that krn_cu_symbol gives. The driver stays loaded.
 * Errors: KRN_ERROR_DRIVER_UNAVAILABLE. */
krn_status krn_cu_load(krn_cu_api *api);

/* The name of the function in the driver that the `index`th pointer of krn_cu_api is for; NULL past the last. */
const char *krn_cu_symbol(int32_t index);

#endif
