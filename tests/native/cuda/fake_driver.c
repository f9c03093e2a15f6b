#include "fake_driver.h"
#include "fake_export.h"

#include "cuda/common/driver_api.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { LOG_BYTES = 1 << 16, MAX_DEVICES = 4, NOT_FOUND = 500 };

/* How an image begins that nvcc has made. */
static const uint32_t FATBIN_MAGIC = 0xBA55ED50;

static char calls[LOG_BYTES];
static size_t calls_length;
static char failing[64];
static int32_t failure;
static int32_t device_count = 1, major = 9, minor = 0, driver_version = 12040;
static int32_t live;
static uint64_t param;
static void *current;
static int32_t contexts[MAX_DEVICES];

/* Records a call and returns what it is to return. */
static int32_t record(const char *function, const char *format, ...) {
    char arguments[256];
    va_list list;
    va_start(list, format);
    vsnprintf(arguments, sizeof arguments, format, list);
    va_end(list);
    calls_length += (size_t)snprintf(calls + calls_length, LOG_BYTES - calls_length, "%s%s%s\n", function,
                                     arguments[0] == '\0' ? "" : " ", arguments);
    if (calls_length >= LOG_BYTES)
        calls_length = LOG_BYTES - 1;
    return strcmp(function, failing) == 0 ? failure : KRN_CU_SUCCESS;
}

/* --- Devices ------------------------------------------------------------------------------------------------------ */

EXPORT int32_t cuInit(uint32_t flags) {
    const int32_t result = record("cuInit", "%u", flags);
    return result == KRN_CU_SUCCESS && device_count == 0 ? KRN_CU_ERROR_NO_DEVICE : result;
}

EXPORT int32_t cuDriverGetVersion(int32_t *version) {
    *version = driver_version;
    return record("cuDriverGetVersion", "");
}

EXPORT int32_t cuGetErrorName(int32_t error, const char **name) {
    *name = error == KRN_CU_ERROR_OUT_OF_MEMORY ? "CUDA_ERROR_OUT_OF_MEMORY" : "CUDA_ERROR_OF_A_TEST";
    return KRN_CU_SUCCESS;
}

EXPORT int32_t cuGetErrorString(int32_t error, const char **text) {
    *text = error == KRN_CU_ERROR_OUT_OF_MEMORY ? "out of memory" : "as the test wanted";
    return KRN_CU_SUCCESS;
}

EXPORT int32_t cuDeviceGetCount(int32_t *count) {
    *count = device_count;
    return record("cuDeviceGetCount", "");
}

EXPORT int32_t cuDeviceGet(int32_t *device, int32_t ordinal) {
    *device = ordinal;
    return record("cuDeviceGet", "%d", ordinal);
}

EXPORT int32_t cuDeviceGetName(char *name, int32_t length, int32_t device) {
    snprintf(name, (size_t)length, "Fake %d", device);
    return record("cuDeviceGetName", "%d", device);
}

EXPORT int32_t cuDeviceGetPCIBusId(char *id, int32_t length, int32_t device) {
    snprintf(id, (size_t)length, "0000:%02X:00.0", 27 + device);
    return record("cuDeviceGetPCIBusId", "%d", device);
}

EXPORT int32_t cuDeviceGetAttribute(int32_t *value, int32_t attribute, int32_t device) {
    *value = attribute == KRN_CU_COMPUTE_CAPABILITY_MAJOR            ? major
             : attribute == KRN_CU_COMPUTE_CAPABILITY_MINOR          ? minor
             : attribute == KRN_CU_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN ? 227 * 1024
                                                                     : 1000 + attribute;
    return record("cuDeviceGetAttribute", "%d of %d", attribute, device);
}

EXPORT int32_t cuDeviceTotalMem_v2(size_t *bytes, int32_t device) {
    *bytes = (size_t)6 << 30;
    return record("cuDeviceTotalMem_v2", "%d", device);
}

EXPORT int32_t cuDevicePrimaryCtxRetain(void **context, int32_t device) {
    *context = &contexts[device];
    const int32_t result = record("cuDevicePrimaryCtxRetain", "%d", device);
    live += result == KRN_CU_SUCCESS;
    return result;
}

EXPORT int32_t cuDevicePrimaryCtxRelease_v2(int32_t device) {
    live--;
    return record("cuDevicePrimaryCtxRelease_v2", "%d", device);
}

EXPORT int32_t cuCtxSetCurrent(void *context) {
    current = context;
    return record("cuCtxSetCurrent", "");
}

EXPORT int32_t cuCtxGetCurrent(void **context) {
    *context = current;
    return record("cuCtxGetCurrent", "");
}

EXPORT int32_t cuCtxPushCurrent_v2(void *context) {
    const int32_t result = record("cuCtxPushCurrent_v2", "");
    if (result == KRN_CU_SUCCESS)
        current = context;
    return result;
}

EXPORT int32_t cuCtxPopCurrent_v2(void **context) {
    *context = current;
    current = NULL;
    return record("cuCtxPopCurrent_v2", "");
}

/* --- Kernels ------------------------------------------------------------------------------------------------------ */

EXPORT int32_t cuModuleLoadData(void **module, const void *image) {
    uint32_t magic;
    memcpy(&magic, image, sizeof magic);
    int32_t result = record("cuModuleLoadData", "%s", magic == FATBIN_MAGIC ? "fatbin" : (const char *)image);
    if (current == NULL)
        result = NOT_FOUND;
    if (result == KRN_CU_SUCCESS && magic != FATBIN_MAGIC && strncmp(image, FAKE_IMAGE, strlen(FAKE_IMAGE)) != 0)
        result = KRN_CU_ERROR_NO_BINARY_FOR_GPU;
    if (result != KRN_CU_SUCCESS)
        return result;
    memcpy(module, &image, sizeof image);
    live++;
    return result;
}

EXPORT int32_t cuModuleUnload(void *module) {
    (void)module;
    live--;
    return record("cuModuleUnload", "");
}

EXPORT int32_t cuModuleGetFunction(void **function, void *module, const char *name) {
    const int32_t result = record("cuModuleGetFunction", "%s", name);
    uint32_t magic;
    memcpy(&magic, module, sizeof magic);
    /* A function is its name: of a fatbin the caller's, which outlives the module. */
    const char *const found = magic == FATBIN_MAGIC ? name : strstr(module, name);
    memcpy(function, &found, sizeof found);
    return result != KRN_CU_SUCCESS ? result : found == NULL ? NOT_FOUND : KRN_CU_SUCCESS;
}

EXPORT int32_t cuFuncGetAttribute(int32_t *value, int32_t attribute, void *function) {
    (void)function;
    *value = attribute == KRN_CU_FUNC_SHARED_SIZE_BYTES ? 1024 : 0;
    return record("cuFuncGetAttribute", "%d", attribute);
}

EXPORT int32_t cuFuncSetAttribute(void *function, int32_t attribute, int32_t value) {
    return record("cuFuncSetAttribute", "%.8s %d = %d", (const char *)function, attribute, value);
}

EXPORT int32_t cuLaunchKernelEx(const krn_cu_launch_config *config, void *function, void **params, void **extra) {
    memcpy(&param, params[0], sizeof param);
    if (current == NULL)
        return NOT_FOUND;
    const krn_cu_launch_attribute *const attribute = config->attributes;
    return record(
        "cuLaunchKernelEx", "%.5s grid %u %u %u block %u %u %u shared %u stream %llu attributes %u%s%.0u%s",
        (const char *)function, config->grid[0], config->grid[1], config->grid[2], config->block[0], config->block[1],
        config->block[2], config->shared_bytes, (unsigned long long)(uintptr_t)config->stream, config->attribute_count,
        config->attribute_count == 1 && attribute->id == KRN_CU_LAUNCH_CLUSTER_DIMENSION ? " cluster " : "",
        config->attribute_count == 1 ? attribute->cluster[0] * 100 + attribute->cluster[1] * 10 + attribute->cluster[2]
                                     : 0,
        extra == NULL ? "" : " extra");
}

EXPORT int32_t cuTensorMapEncodeTiled(void *map, int32_t type, uint32_t rank, void *address, const uint64_t *sizes,
                                      const uint64_t *strides_bytes, const uint32_t *box,
                                      const uint32_t *element_strides, int32_t interleave, int32_t swizzle,
                                      int32_t l2_promotion, int32_t oob_fill) {
    memset(map, 0x11, 128);
    return record("cuTensorMapEncodeTiled",
                  "type %d rank %u address %llu sizes %llu %llu stride %llu box %u %u steps %u %u interleave %d "
                  "swizzle %d promotion %d fill %d",
                  type, rank, (unsigned long long)(uintptr_t)address, (unsigned long long)sizes[0],
                  (unsigned long long)sizes[1], (unsigned long long)strides_bytes[0], box[0], box[1],
                  element_strides[0], element_strides[1], interleave, swizzle, l2_promotion, oob_fill);
}

/* --- Memory and streams ------------------------------------------------------------------------------------------- */

/* Where FAKE_DRIVER_SHALLOW is set, no copy goes further: programs that fill gigabytes can be run too. */
static size_t copied(size_t bytes) {
    enum { SHALLOW_BYTES = 1 << 16 };
    return bytes > SHALLOW_BYTES && getenv("FAKE_DRIVER_SHALLOW") != NULL ? SHALLOW_BYTES : bytes;
}

static void *pointer_to(uint64_t address) { return (void *)(uintptr_t)address; }

/* Devices align memory to 256 bytes. What malloc gave stands right before. */
enum { MEMORY_ALIGNMENT = 256 };

EXPORT int32_t cuMemAlloc_v2(uint64_t *address, size_t bytes) {
    const int32_t result = record("cuMemAlloc_v2", "%llu", (unsigned long long)bytes);
    if (result != KRN_CU_SUCCESS)
        return result;
    void *const memory = malloc(bytes + 2 * MEMORY_ALIGNMENT);
    if (memory == NULL)
        return KRN_CU_ERROR_OUT_OF_MEMORY;
    *address = ((uint64_t)(uintptr_t)memory / MEMORY_ALIGNMENT + 2) * MEMORY_ALIGNMENT;
    memcpy(pointer_to(*address - sizeof memory), &memory, sizeof memory);
    live++;
    return result;
}

EXPORT int32_t cuMemFree_v2(uint64_t address) {
    void *memory;
    memcpy(&memory, pointer_to(address - sizeof memory), sizeof memory);
    free(memory);
    live--;
    return record("cuMemFree_v2", "");
}

EXPORT int32_t cuMemcpyHtoDAsync_v2(uint64_t to, const void *from, size_t bytes, void *stream) {
    memcpy(pointer_to(to), from, copied(bytes));
    return record("cuMemcpyHtoDAsync_v2", "%llu stream %llu", (unsigned long long)bytes,
                  (unsigned long long)(uintptr_t)stream);
}

EXPORT int32_t cuMemcpyDtoHAsync_v2(void *to, uint64_t from, size_t bytes, void *stream) {
    memcpy(to, pointer_to(from), copied(bytes));
    return record("cuMemcpyDtoHAsync_v2", "%llu stream %llu", (unsigned long long)bytes,
                  (unsigned long long)(uintptr_t)stream);
}

EXPORT int32_t cuMemcpyDtoDAsync_v2(uint64_t to, uint64_t from, size_t bytes, void *stream) {
    memcpy(pointer_to(to), pointer_to(from), copied(bytes));
    return record("cuMemcpyDtoDAsync_v2", "%llu stream %llu", (unsigned long long)bytes,
                  (unsigned long long)(uintptr_t)stream);
}

EXPORT int32_t cuMemsetD8Async(uint64_t address, uint8_t value, size_t bytes, void *stream) {
    memset(pointer_to(address), value, copied(bytes));
    return record("cuMemsetD8Async", "%u %llu stream %llu", value, (unsigned long long)bytes,
                  (unsigned long long)(uintptr_t)stream);
}

EXPORT int32_t cuStreamCreate(void **stream, uint32_t flags) {
    const int32_t result = record("cuStreamCreate", "%u", flags);
    if (result != KRN_CU_SUCCESS)
        return result;
    *stream = pointer_to(77);
    live++;
    return result;
}

EXPORT int32_t cuStreamDestroy_v2(void *stream) {
    live--;
    return record("cuStreamDestroy_v2", "%llu", (unsigned long long)(uintptr_t)stream);
}

EXPORT int32_t cuStreamSynchronize(void *stream) {
    return record("cuStreamSynchronize", "%llu", (unsigned long long)(uintptr_t)stream);
}

/* --- Events and graphs, which C# calls by itself ------------------------------------------------------------------ */

EXPORT int32_t cuEventCreate(void **event, uint32_t flags) {
    *event = pointer_to(88);
    live++;
    return record("cuEventCreate", "%u", flags);
}

EXPORT int32_t cuEventDestroy_v2(void *event) {
    (void)event;
    live--;
    return record("cuEventDestroy_v2", "");
}

EXPORT int32_t cuEventRecord(void *event, void *stream) {
    (void)event;
    return record("cuEventRecord", "%llu", (unsigned long long)(uintptr_t)stream);
}

EXPORT int32_t cuEventQuery(void *event) {
    (void)event;
    return record("cuEventQuery", "");
}

EXPORT int32_t cuEventSynchronize(void *event) {
    (void)event;
    return record("cuEventSynchronize", "");
}

EXPORT int32_t cuEventElapsedTime(float *milliseconds, void *start, void *end) {
    *milliseconds = start == end ? 0.25f : 0.5f;
    return record("cuEventElapsedTime", "");
}

EXPORT int32_t cuStreamWaitEvent(void *stream, void *event, uint32_t flags) {
    (void)event;
    return record("cuStreamWaitEvent", "%llu %u", (unsigned long long)(uintptr_t)stream, flags);
}

EXPORT int32_t cuStreamBeginCapture_v2(void *stream, int32_t mode) {
    return record("cuStreamBeginCapture_v2", "%llu %d", (unsigned long long)(uintptr_t)stream, mode);
}

EXPORT int32_t cuStreamEndCapture(void *stream, void **graph) {
    *graph = pointer_to(99);
    live++;
    return record("cuStreamEndCapture", "%llu", (unsigned long long)(uintptr_t)stream);
}

EXPORT int32_t cuGraphInstantiateWithFlags(void **executable, void *graph, uint64_t flags) {
    (void)graph;
    *executable = pointer_to(111);
    live++;
    return record("cuGraphInstantiateWithFlags", "%llu", (unsigned long long)flags);
}

EXPORT int32_t cuGraphLaunch(void *executable, void *stream) {
    (void)executable;
    return record("cuGraphLaunch", "%llu", (unsigned long long)(uintptr_t)stream);
}

EXPORT int32_t cuGraphExecDestroy(void *executable) {
    (void)executable;
    live--;
    return record("cuGraphExecDestroy", "");
}

EXPORT int32_t cuGraphDestroy(void *graph) {
    (void)graph;
    live--;
    return record("cuGraphDestroy", "");
}

/* --- Control ------------------------------------------------------------------------------------------------------ */

static const char *get_log(void) { return calls; }

static void clear_log(void) {
    calls_length = 0;
    calls[0] = '\0';
}

static void set_failure(const char *function, int32_t result) {
    snprintf(failing, sizeof failing, "%s", result == KRN_CU_SUCCESS ? "" : function);
    failure = result;
}

static void set_devices(int32_t count, int32_t compute_major, int32_t compute_minor) {
    device_count = count;
    major = compute_major;
    minor = compute_minor;
}

static void set_version(int32_t version) { driver_version = version; }

static int32_t live_objects(void) { return live; }

static uint64_t last_param(void) { return param; }

static void *current_context(void) { return current; }

EXPORT extern const fake_driver_control fake_driver_control_table;
const fake_driver_control fake_driver_control_table = {get_log,     clear_log,    set_failure, set_devices,
                                                       set_version, live_objects, last_param,  current_context};
