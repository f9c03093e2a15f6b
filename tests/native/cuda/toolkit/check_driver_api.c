/* Compares what driver_api.h declares of the CUDA driver with the toolkit's cuda.h: numbers, layouts, types of functions
 * and the names that cuda.h gives them. Built where a toolkit is. */
#include "cuda/common/driver_api.h"

#include <cuda.h>

#include <stdio.h>
#include <string.h>

#define SAME(ours, theirs) _Static_assert((int)(ours) == (int)(theirs), #ours)

SAME(KRN_CU_SUCCESS, CUDA_SUCCESS);
SAME(KRN_CU_ERROR_OUT_OF_MEMORY, CUDA_ERROR_OUT_OF_MEMORY);
SAME(KRN_CU_ERROR_NO_DEVICE, CUDA_ERROR_NO_DEVICE);
SAME(KRN_CU_ERROR_NO_BINARY_FOR_GPU, CUDA_ERROR_NO_BINARY_FOR_GPU);
SAME(KRN_CU_ERROR_SYSTEM_DRIVER_MISMATCH, CUDA_ERROR_SYSTEM_DRIVER_MISMATCH);
SAME(KRN_CU_ERROR_COMPAT_NOT_SUPPORTED, CUDA_ERROR_COMPAT_NOT_SUPPORTED_ON_DEVICE);
SAME(KRN_CU_CLOCK_RATE, CU_DEVICE_ATTRIBUTE_CLOCK_RATE);
SAME(KRN_CU_MULTIPROCESSOR_COUNT, CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT);
SAME(KRN_CU_MEMORY_CLOCK_RATE, CU_DEVICE_ATTRIBUTE_MEMORY_CLOCK_RATE);
SAME(KRN_CU_GLOBAL_MEMORY_BUS_WIDTH, CU_DEVICE_ATTRIBUTE_GLOBAL_MEMORY_BUS_WIDTH);
SAME(KRN_CU_L2_CACHE_SIZE, CU_DEVICE_ATTRIBUTE_L2_CACHE_SIZE);
SAME(KRN_CU_MAX_THREADS_PER_MULTIPROCESSOR, CU_DEVICE_ATTRIBUTE_MAX_THREADS_PER_MULTIPROCESSOR);
SAME(KRN_CU_COMPUTE_CAPABILITY_MAJOR, CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR);
SAME(KRN_CU_COMPUTE_CAPABILITY_MINOR, CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR);
SAME(KRN_CU_MAX_SHARED_MEMORY_PER_MULTIPROCESSOR, CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_MULTIPROCESSOR);
SAME(KRN_CU_MAX_REGISTERS_PER_MULTIPROCESSOR, CU_DEVICE_ATTRIBUTE_MAX_REGISTERS_PER_MULTIPROCESSOR);
SAME(KRN_CU_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN, CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN);
SAME(KRN_CU_FUNC_SHARED_SIZE_BYTES, CU_FUNC_ATTRIBUTE_SHARED_SIZE_BYTES);
SAME(KRN_CU_FUNC_MAX_DYNAMIC_SHARED_SIZE_BYTES, CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES);
SAME(KRN_CU_STREAM_NON_BLOCKING, CU_STREAM_NON_BLOCKING);
SAME(KRN_CU_LAUNCH_CLUSTER_DIMENSION, CU_LAUNCH_ATTRIBUTE_CLUSTER_DIMENSION);
SAME(KRN_CU_TENSOR_UINT8, CU_TENSOR_MAP_DATA_TYPE_UINT8);
SAME(KRN_CU_TENSOR_UINT16, CU_TENSOR_MAP_DATA_TYPE_UINT16);
SAME(KRN_CU_TENSOR_UINT32, CU_TENSOR_MAP_DATA_TYPE_UINT32);
SAME(KRN_CU_TENSOR_UINT64, CU_TENSOR_MAP_DATA_TYPE_UINT64);
SAME(KRN_CU_TENSOR_INTERLEAVE_NONE, CU_TENSOR_MAP_INTERLEAVE_NONE);
SAME(KRN_CU_TENSOR_SWIZZLE_NONE, CU_TENSOR_MAP_SWIZZLE_NONE);
SAME(KRN_CU_TENSOR_SWIZZLE_32, CU_TENSOR_MAP_SWIZZLE_32B);
SAME(KRN_CU_TENSOR_SWIZZLE_64, CU_TENSOR_MAP_SWIZZLE_64B);
SAME(KRN_CU_TENSOR_SWIZZLE_128, CU_TENSOR_MAP_SWIZZLE_128B);
SAME(KRN_CU_TENSOR_L2_PROMOTION_256, CU_TENSOR_MAP_L2_PROMOTION_L2_256B);
SAME(KRN_CU_TENSOR_OOB_FILL_ZERO, CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE);

#define OFFSET(ours, our_field, theirs, their_field) SAME(offsetof(ours, our_field), offsetof(theirs, their_field))

SAME(sizeof(krn_cu_launch_config), sizeof(CUlaunchConfig));
OFFSET(krn_cu_launch_config, grid, CUlaunchConfig, gridDimX);
OFFSET(krn_cu_launch_config, block, CUlaunchConfig, blockDimX);
OFFSET(krn_cu_launch_config, shared_bytes, CUlaunchConfig, sharedMemBytes);
OFFSET(krn_cu_launch_config, stream, CUlaunchConfig, hStream);
OFFSET(krn_cu_launch_config, attributes, CUlaunchConfig, attrs);
OFFSET(krn_cu_launch_config, attribute_count, CUlaunchConfig, numAttrs);
SAME(sizeof(krn_cu_launch_attribute), sizeof(CUlaunchAttribute));
OFFSET(krn_cu_launch_attribute, cluster, CUlaunchAttribute, value);
SAME(sizeof(CUdevice), sizeof(int32_t));
SAME(sizeof(CUdeviceptr), sizeof(uint64_t));
SAME(sizeof(CUresult), sizeof(int32_t));
SAME(sizeof(CUtensorMap), 128);

#define STRINGIZE_TOKEN(x) #x
/* The symbol that cuda.h stands a function's name for. */
#define SYMBOL_OF(function) STRINGIZE_TOKEN(function)

/* The functions that C# calls by itself (src/Interop/Native/CudaDriver.cs): their names are what cuda.h stands for. */
static int check_csharp(void) {
    static const char *const pairs[][2] = {
        {SYMBOL_OF(cuDeviceGetPCIBusId), "cuDeviceGetPCIBusId"},
        {SYMBOL_OF(cuDevicePrimaryCtxRelease), "cuDevicePrimaryCtxRelease_v2"},
        {SYMBOL_OF(cuCtxPushCurrent), "cuCtxPushCurrent_v2"},
        {SYMBOL_OF(cuCtxPopCurrent), "cuCtxPopCurrent_v2"},
        {SYMBOL_OF(cuEventCreate), "cuEventCreate"},
        {SYMBOL_OF(cuEventDestroy), "cuEventDestroy_v2"},
        {SYMBOL_OF(cuEventRecord), "cuEventRecord"},
        {SYMBOL_OF(cuEventElapsedTime), "cuEventElapsedTime"},
        {SYMBOL_OF(cuStreamWaitEvent), "cuStreamWaitEvent"},
        {SYMBOL_OF(cuStreamBeginCapture), "cuStreamBeginCapture_v2"},
        {SYMBOL_OF(cuStreamEndCapture), "cuStreamEndCapture"},
        {SYMBOL_OF(cuGraphInstantiateWithFlags), "cuGraphInstantiateWithFlags"},
        {SYMBOL_OF(cuGraphLaunch), "cuGraphLaunch"},
    };
    for (size_t i = 0; i < sizeof pairs / sizeof pairs[0]; i++) {
        if (strcmp(pairs[i][0], pairs[i][1]) != 0) {
            printf("cuda.h has %s where C# has %s\n", pairs[i][0], pairs[i][1]);
            return 1;
        }
    }
    return 0;
}

int main(void) {
    /* In the order of krn_cu_api. */
    static const char *const expected[] = {
        SYMBOL_OF(cuInit),
        SYMBOL_OF(cuDriverGetVersion),
        SYMBOL_OF(cuGetErrorName),
        SYMBOL_OF(cuGetErrorString),
        SYMBOL_OF(cuDeviceGetCount),
        SYMBOL_OF(cuDeviceGet),
        SYMBOL_OF(cuDeviceGetName),
        SYMBOL_OF(cuDeviceGetAttribute),
        SYMBOL_OF(cuDeviceTotalMem),
        SYMBOL_OF(cuDevicePrimaryCtxRetain),
        SYMBOL_OF(cuDevicePrimaryCtxRelease),
        SYMBOL_OF(cuCtxGetCurrent),
        SYMBOL_OF(cuCtxPushCurrent),
        SYMBOL_OF(cuCtxPopCurrent),
        SYMBOL_OF(cuModuleLoadData),
        SYMBOL_OF(cuModuleUnload),
        SYMBOL_OF(cuModuleGetFunction),
        SYMBOL_OF(cuFuncGetAttribute),
        SYMBOL_OF(cuFuncSetAttribute),
        SYMBOL_OF(cuMemAlloc),
        SYMBOL_OF(cuMemFree),
        SYMBOL_OF(cuMemcpyHtoDAsync),
        SYMBOL_OF(cuMemcpyDtoHAsync),
        SYMBOL_OF(cuMemcpyDtoDAsync),
        SYMBOL_OF(cuMemsetD8Async),
        SYMBOL_OF(cuStreamCreate),
        SYMBOL_OF(cuStreamDestroy),
        SYMBOL_OF(cuStreamSynchronize),
        SYMBOL_OF(cuLaunchKernelEx),
        SYMBOL_OF(cuTensorMapEncodeTiled),
    };
    const int32_t count = sizeof expected / sizeof expected[0];
    for (int32_t i = 0; i <= count; i++) {
        const char *ours = krn_cu_symbol(i);
        const char *theirs = i < count ? expected[i] : NULL;
        if ((ours == NULL) != (theirs == NULL) || (ours != NULL && strcmp(ours, theirs) != 0)) {
            printf("symbol %d is %s, but cuda.h has %s\n", (int)i, ours == NULL ? "none" : ours,
                   theirs == NULL ? "none" : theirs);
            return 1;
        }
    }
    if (check_csharp() != 0)
        return 1;
    printf("the declarations are those of CUDA %d.%d\n", CUDA_VERSION / 1000, CUDA_VERSION % 1000 / 10);
    return 0;
}
