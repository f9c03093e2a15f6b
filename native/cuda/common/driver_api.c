#include "cuda/common/driver_api.h"

#include "common/status.h"

#include <string.h>

#if defined(_WIN32)
#define WIN32_LEAN_AND_MEAN
#include <windows.h>
#else
#include <dlfcn.h>
#endif

/* In the order of krn_cu_api. The suffixes are the versions of the functions that cuda.h of CUDA 12 declares. */
static const char *const symbols[] = {
    "cuInit",
    "cuDriverGetVersion",
    "cuGetErrorName",
    "cuGetErrorString",
    "cuDeviceGetCount",
    "cuDeviceGet",
    "cuDeviceGetName",
    "cuDeviceGetAttribute",
    "cuDeviceTotalMem_v2",
    "cuDevicePrimaryCtxRetain",
    "cuDevicePrimaryCtxRelease_v2",
    "cuCtxGetCurrent",
    "cuCtxPushCurrent_v2",
    "cuCtxPopCurrent_v2",
    "cuModuleLoadData",
    "cuModuleUnload",
    "cuModuleGetFunction",
    "cuFuncGetAttribute",
    "cuFuncSetAttribute",
    "cuMemAlloc_v2",
    "cuMemFree_v2",
    "cuMemcpyHtoDAsync_v2",
    "cuMemcpyDtoHAsync_v2",
    "cuMemcpyDtoDAsync_v2",
    "cuMemsetD8Async",
    "cuStreamCreate",
    "cuStreamDestroy_v2",
    "cuStreamSynchronize",
    "cuLaunchKernelEx",
    "cuTensorMapEncodeTiled",
};

enum { SYMBOL_COUNT = sizeof symbols / sizeof symbols[0] };

/* A pointer to a function, whatever its type: the C standard has none that fits all, but all have one size here. */
typedef void (*any_function)(void);

_Static_assert(sizeof(krn_cu_api) == SYMBOL_COUNT * sizeof(any_function), "a symbol for every function");

const char *krn_cu_symbol(int32_t index) { return index >= 0 && index < SYMBOL_COUNT ? symbols[index] : NULL; }

#if defined(_WIN32)
static void *open_library(void) { return (void *)LoadLibraryA(KRN_CUDA_DRIVER_LIBRARY); }

static any_function find_symbol(void *library, const char *name) {
    return (any_function)GetProcAddress((HMODULE)library, name);
}

static void close_library(void *library) { FreeLibrary((HMODULE)library); }
#else
static void *open_library(void) { return dlopen(KRN_CUDA_DRIVER_LIBRARY, RTLD_NOW | RTLD_LOCAL); }

static any_function find_symbol(void *library, const char *name) {
    void *const symbol = dlsym(library, name);
    any_function function;
    memcpy(&function, &symbol, sizeof function);
    return function;
}

static void close_library(void *library) { dlclose(library); }
#endif

krn_status krn_cu_load(krn_cu_api *api) {
    void *const library = open_library();
    if (library == NULL)
        return krn_fail(KRN_ERROR_DRIVER_UNAVAILABLE,
                        "the CUDA driver is not installed: %s cannot be loaded; install the driver of an NVIDIA GPU",
                        KRN_CUDA_DRIVER_LIBRARY);
    for (int32_t i = 0; i < SYMBOL_COUNT; i++) {
        const any_function function = find_symbol(library, symbols[i]);
        if (function == NULL) {
            close_library(library);
            return krn_fail(KRN_ERROR_DRIVER_UNAVAILABLE,
                            "the CUDA driver is too old: %s has no %s; install one for CUDA 12 or newer",
                            KRN_CUDA_DRIVER_LIBRARY, symbols[i]);
        }
        memcpy((char *)api + (size_t)i * sizeof function, &function, sizeof function);
    }
    return KRN_OK;
}
