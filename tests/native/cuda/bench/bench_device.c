/* The driver's events and graphs, NVML, and memory with random content. */
#include "bench.h"
#include "bench_driver.h"

#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>

enum { FLUSH_OF_L2 = 2, CHUNK_BYTES = 1 << 20 };

bench_driver driver;

/* NVML as nvml.h declares it. */
static struct {
    int32_t (*init)(void);
    int32_t (*handle)(uint32_t index, void **device);
    int32_t (*clock)(void *device, int32_t type, uint32_t *mhz);
    int32_t (*power)(void *device, uint32_t *milliwatts);
    int32_t (*temperature)(void *device, int32_t sensor, uint32_t *celsius);
    int32_t (*version)(char *text, uint32_t length);
    void *device; /* NULL where there is no NVML */
} nvml;

void bench_check(krn_status status, const char *what) {
    if (status != KRN_OK)
        bench_fail("%s: %s (%s)", what, krn_last_error(), krn_status_name(status));
}

void bench_check_driver(int32_t result, const char *what) {
    if (result != 0)
        bench_fail("%s gave %d", what, result);
}

int bench_find(void *library, const char *name, int needed, void *function) {
    void *const symbol = library == NULL ? NULL : dlsym(library, name);
    if (symbol == NULL && needed)
        bench_fail("there is no %s", name);
    memcpy(function, &symbol, sizeof symbol);
    return symbol != NULL;
}

static void load_driver(void) {
    void *const library = dlopen("libcuda.so.1", RTLD_NOW);
    bench_find(library, "cuDeviceGet", 1, &driver.device_get);
    bench_find(library, "cuDevicePrimaryCtxRetain", 1, &driver.context_retain);
    bench_find(library, "cuCtxSetCurrent", 1, &driver.context_set);
    bench_find(library, "cuEventCreate", 1, &driver.event_create);
    bench_find(library, "cuEventRecord", 1, &driver.event_record);
    bench_find(library, "cuEventSynchronize", 1, &driver.event_synchronize);
    bench_find(library, "cuEventElapsedTime", 1, &driver.event_elapsed);
    bench_find(library, "cuEventDestroy_v2", 1, &driver.event_destroy);
    bench_find(library, "cuStreamBeginCapture_v2", 1, &driver.capture_begin);
    bench_find(library, "cuStreamEndCapture", 1, &driver.capture_end);
    bench_find(library, "cuGraphInstantiateWithFlags", 1, &driver.graph_instantiate);
    bench_find(library, "cuGraphLaunch", 1, &driver.graph_launch);
    bench_find(library, "cuGraphExecDestroy", 1, &driver.graph_exec_destroy);
    bench_find(library, "cuGraphDestroy", 1, &driver.graph_destroy);
}

static void load_nvml(int32_t ordinal) {
    void *const library = dlopen("libnvidia-ml.so.1", RTLD_NOW);
    const int found = bench_find(library, "nvmlInit_v2", 0, &nvml.init) &&
                      bench_find(library, "nvmlDeviceGetHandleByIndex_v2", 0, &nvml.handle) &&
                      bench_find(library, "nvmlDeviceGetClockInfo", 0, &nvml.clock) &&
                      bench_find(library, "nvmlDeviceGetPowerUsage", 0, &nvml.power) &&
                      bench_find(library, "nvmlDeviceGetTemperature", 0, &nvml.temperature) &&
                      bench_find(library, "nvmlSystemGetDriverVersion", 0, &nvml.version);
    if (!found || nvml.init() != 0 || nvml.handle((uint32_t)ordinal, &nvml.device) != 0)
        nvml.device = NULL;
}

static const krn_cuda_backend *load_emulator(const char *path) {
    const krn_cuda_backend *(*emulator)(void) = NULL;
    void *const library = dlopen(path, RTLD_NOW);
    if (library == NULL)
        bench_fail("cannot load %s", path);
    bench_find(library, "krn_cuda_emulator", 1, &emulator);
    return emulator();
}

static void open_driver(bench_device *device, int32_t ordinal) {
    int32_t handle = 0;
    void *primary = NULL;
    load_driver();
    load_nvml(ordinal);
    bench_check_driver(driver.device_get(&handle, ordinal), "cuDeviceGet");
    bench_check_driver(driver.context_retain(&primary, handle), "cuDevicePrimaryCtxRetain");
    bench_check_driver(driver.context_set(primary), "cuCtxSetCurrent");
    device->flush_bytes = FLUSH_OF_L2 * device->properties.l2_bytes;
    bench_check(krn_cuda_memory_allocate(device->context, device->flush_bytes, &device->flush), "allocating");
}

void bench_open_device(bench_device *device, int32_t ordinal, const char *emulator) {
    static const int32_t no_flags = 0;
    const krn_cuda_context_options options = {
        .struct_size = sizeof options, .device = ordinal, .backend = emulator == NULL ? NULL : load_emulator(emulator)};
    device->is_emulated = emulator != NULL;
    bench_check(krn_cuda_context_create(&options, &device->context), "making a context");
    device->properties.struct_size = sizeof device->properties;
    bench_check(krn_cuda_context_properties(device->context, &device->properties), "asking for properties");
    bench_check(krn_cuda_stream_create(device->context, &device->stream), "making a stream");
    if (!device->is_emulated)
        open_driver(device, ordinal);
    device->flags = bench_copy(device, &no_flags, sizeof no_flags);
}

void bench_close_device(bench_device *device) {
    bench_free(device, device->flush);
    bench_free(device, device->flags);
    bench_check(krn_cuda_stream_destroy(device->context, device->stream), "ending a stream");
    krn_cuda_context_destroy(device->context);
}

bench_clocks bench_read_clocks(void) {
    enum { SM_CLOCK = 1, MEMORY_CLOCK = 2, GPU_SENSOR = 0 };
    bench_clocks clocks = {-1, -1, -1, -1.0};
    uint32_t value = 0;
    if (nvml.device == NULL)
        return clocks;
    if (nvml.clock(nvml.device, SM_CLOCK, &value) == 0)
        clocks.sm_mhz = (int32_t)value;
    if (nvml.clock(nvml.device, MEMORY_CLOCK, &value) == 0)
        clocks.memory_mhz = (int32_t)value;
    if (nvml.temperature(nvml.device, GPU_SENSOR, &value) == 0)
        clocks.temperature = (int32_t)value;
    if (nvml.power(nvml.device, &value) == 0)
        clocks.watts = value / 1000.0;
    return clocks;
}

const char *bench_driver_version(void) {
    static char version[96];
    if (nvml.device == NULL || nvml.version(version, sizeof version) != 0)
        version[0] = '\0';
    return version;
}

/* --- Memory ------------------------------------------------------------------------------------------------------- */

/* splitmix64. */
static uint64_t next_random(uint64_t *state) {
    uint64_t z = *state += 0x9E3779B97F4A7C15u;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    return z ^ (z >> 31);
}

void *bench_allocate(int64_t bytes) {
    void *const memory = calloc(1, (size_t)bytes);
    if (memory == NULL)
        bench_fail("no memory for %lld bytes", (long long)bytes);
    return memory;
}

int64_t bench_bits(int32_t type) {
    switch (type) {
    case KRN_TYPE_F32: return 32;
    case KRN_TYPE_F16:
    case KRN_TYPE_BF16: return 16;
    case KRN_TYPE_S8:
    case KRN_TYPE_U8:
    case KRN_TYPE_F8E4M3: return 8;
    default: return 4;
    }
}

void *bench_copy(bench_device *device, const void *host, int64_t bytes) {
    void *memory = NULL;
    bench_check(krn_cuda_memory_allocate(device->context, bytes, &memory), "allocating");
    bench_check(krn_cuda_memory_copy_to_device(device->context, memory, host, bytes, device->stream), "copying");
    bench_check(krn_cuda_stream_synchronize(device->context, device->stream), "copying");
    return memory;
}

/* A chunk of host memory, copied as often as the device memory takes. */
static void *upload(bench_device *device, const void *chunk, int64_t bytes) {
    void *memory = NULL;
    bench_check(krn_cuda_memory_allocate(device->context, bytes, &memory), "allocating");
    for (int64_t at = 0; at < bytes; at += CHUNK_BYTES)
        bench_check(krn_cuda_memory_copy_to_device(device->context, (char *)memory + at, chunk,
                                                   bytes - at < CHUNK_BYTES ? bytes - at : CHUNK_BYTES, device->stream),
                    "copying");
    bench_check(krn_cuda_stream_synchronize(device->context, device->stream), "copying");
    return memory;
}

void *bench_random_memory(bench_device *device, int64_t bytes, uint64_t seed) {
    static uint64_t chunk[CHUNK_BYTES / sizeof(uint64_t)];
    for (size_t i = 0; i < sizeof chunk / sizeof chunk[0]; i++)
        chunk[i] = next_random(&seed);
    return upload(device, chunk, bytes);
}

static uint32_t normal_bits(uint64_t *state) {
    float sum = 0.0f;
    for (int i = 0; i < 4; i++)
        sum += (float)(next_random(state) >> 40) / (float)(1 << 24) - 0.5f;
    sum *= 1.7320508f; /* four uniform values have a deviation of 1/sqrt(3) */
    uint32_t bits;
    memcpy(&bits, &sum, sizeof bits);
    return bits;
}

/* Cut off rather than rounded: it is noise. What is too small for a normal number becomes zero. */
static uint16_t f16_of(uint32_t bits) {
    const int32_t exponent = (int32_t)(bits >> 23 & 0xFF) - 127 + 15;
    const uint32_t sign = bits >> 16 & 0x8000;
    return (uint16_t)(exponent <= 0 ? sign : sign | (uint32_t)exponent << 10 | (bits >> 13 & 0x3FF));
}

void *bench_activations(bench_device *device, int32_t type, int64_t count, uint64_t seed) {
    static uint32_t words[CHUNK_BYTES / sizeof(uint32_t)];
    static uint16_t halves[CHUNK_BYTES / sizeof(uint16_t)];
    if (type == KRN_TYPE_F32) {
        for (size_t i = 0; i < sizeof words / sizeof words[0]; i++)
            words[i] = normal_bits(&seed);
        return upload(device, words, count * (int64_t)sizeof(float));
    }
    for (size_t i = 0; i < sizeof halves / sizeof halves[0]; i++) {
        const uint32_t bits = normal_bits(&seed);
        halves[i] = type == KRN_TYPE_F16 ? f16_of(bits) : (uint16_t)(bits >> 16);
    }
    return upload(device, halves, count * (int64_t)sizeof(uint16_t));
}

void bench_free(bench_device *device, void *memory) {
    bench_check(krn_cuda_memory_free(device->context, memory), "freeing");
}
