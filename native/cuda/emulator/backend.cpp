/* The emulator as a backend (common/backend.h). Streams are in order by themselves: every call is done when it
 * returns. */
#include "cuda/common/backend.h"

#include "cuda/emulator/block.h"
#include "cuda/emulator/emulator.h"

#include <new>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

namespace emulator {
namespace {

struct Device {
    const char *name;
    int32_t capability, multiprocessors;
    uint32_t shared_bytes_per_block, shared_bytes_per_multiprocessor;
    int32_t clock_khz, memory_clock_khz, memory_bus_bits;
};

/* Figures of an H200 and of an A100, but for how much memory there is. */
const Device devices[] = {
    {"emulator of compute capability 9.0", 90, 132, 227 * 1024, 228 * 1024, 1980000, 3201000, 6144},
    {"emulator of compute capability 8.0", 80, 108, 163 * 1024, 164 * 1024, 1410000, 1593000, 5120},
};
constexpr int32_t NUM_DEVICES = sizeof devices / sizeof devices[0];
constexpr int64_t MEMORY_BYTES = INT64_C(4) << 30;

struct State {
    explicit State(const Device &of) : device(of), memory(MEMORY_BYTES) {}

    const Device &device;
    DeviceMemory memory;
};

/* Streams differ by their address alone. */
struct Stream {
    State *state;
};

State &state_of(void *state) { return *static_cast<State *>(state); }

krn_status fail(krn_status status, const char *format, ...) __attribute__((format(printf, 2, 3)));
krn_status fail(krn_status status, const char *format, ...) {
    char sentence[512];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(sentence, sizeof sentence, format, arguments);
    va_end(arguments);
    krn_set_last_error(sentence);
    return status;
}

krn_status device_count(int32_t *count) {
    *count = NUM_DEVICES;
    return KRN_OK;
}

krn_status open(int32_t device, void **state) {
    if (device < 0 || device >= NUM_DEVICES)
        return fail(KRN_ERROR_NO_DEVICE, "device is %d; the emulator has devices 0 to %d", device, NUM_DEVICES - 1);
    *state = new (std::nothrow) State(devices[device]);
    return *state != nullptr ? KRN_OK : fail(KRN_ERROR_OUT_OF_MEMORY, "could not allocate the state of a device");
}

void close(void *state) { delete static_cast<State *>(state); }

krn_status properties(void *state, krn_cuda_properties *p) {
    const Device &device = state_of(state).device;
    *p = krn_cuda_properties{};
    p->struct_size = sizeof *p;
    p->compute_major = device.capability / 10;
    p->compute_minor = device.capability % 10;
    p->multiprocessors = device.multiprocessors;
    p->shared_bytes_per_block = static_cast<int32_t>(device.shared_bytes_per_block);
    p->shared_bytes_per_multiprocessor = static_cast<int32_t>(device.shared_bytes_per_multiprocessor);
    p->threads_per_multiprocessor = 2048;
    p->registers_per_multiprocessor = 65536;
    p->l2_bytes = INT64_C(40) << 20;
    p->memory_bytes = MEMORY_BYTES;
    p->clock_khz = device.clock_khz;
    p->memory_clock_khz = device.memory_clock_khz;
    p->memory_bus_bits = device.memory_bus_bits;
    p->name = device.name;
    return KRN_OK;
}

krn_status allocate(void *state, int64_t bytes, void **memory) {
    *memory = nullptr;
    if (bytes < 0)
        return fail(KRN_ERROR_INVALID_ARGUMENT, "bytes is %lld, must not be negative", static_cast<long long>(bytes));
    if (bytes > 0 && state_of(state).memory.allocate(bytes, memory) != DeviceMemory::Result::OK)
        return fail(KRN_ERROR_OUT_OF_MEMORY, "the emulator could not allocate %lld bytes",
                    static_cast<long long>(bytes));
    return KRN_OK;
}

krn_status release(void *state, void *memory) {
    if (memory != nullptr && state_of(state).memory.release(memory) != DeviceMemory::Result::OK)
        return fail(KRN_ERROR_INVALID_ARGUMENT, "device_memory is %p, which is not the start of an allocation", memory);
    return KRN_OK;
}

/* Where `bytes` bytes of device memory are on the host; records the failure. */
uint8_t *find(DeviceMemory &memory, const char *name, const void *address, int64_t bytes) {
    uint8_t *const at = memory.find(address, static_cast<uint64_t>(bytes));
    if (at == nullptr) {
        char where[120];
        memory.describe(address, where, sizeof where);
        fail(KRN_ERROR_DEVICE, "%s, %lld bytes at %p, is not within an allocation: %s", name,
             static_cast<long long>(bytes), address, where);
    }
    return at;
}

krn_status copy_to_device(void *state, void *to, const void *from, int64_t bytes, void *) {
    if (bytes == 0)
        return KRN_OK;
    DeviceMemory &memory = state_of(state).memory;
    const std::shared_lock<std::shared_mutex> guard(memory.lock);
    uint8_t *const target = find(memory, "the target of a copy", to, bytes);
    if (target == nullptr)
        return KRN_ERROR_DEVICE;
    memcpy(target, from, static_cast<size_t>(bytes));
    return KRN_OK;
}

krn_status copy_to_host(void *state, void *to, const void *from, int64_t bytes, void *) {
    if (bytes == 0)
        return KRN_OK;
    DeviceMemory &memory = state_of(state).memory;
    const std::shared_lock<std::shared_mutex> guard(memory.lock);
    const uint8_t *const source = find(memory, "the source of a copy", from, bytes);
    if (source == nullptr)
        return KRN_ERROR_DEVICE;
    memcpy(to, source, static_cast<size_t>(bytes));
    return KRN_OK;
}

krn_status copy_on_device(void *state, void *to, const void *from, int64_t bytes, void *) {
    if (bytes == 0)
        return KRN_OK;
    DeviceMemory &memory = state_of(state).memory;
    const std::shared_lock<std::shared_mutex> guard(memory.lock);
    uint8_t *const target = find(memory, "the target of a copy", to, bytes);
    const uint8_t *const source = target == nullptr ? nullptr : find(memory, "the source of a copy", from, bytes);
    if (source == nullptr)
        return KRN_ERROR_DEVICE;
    memmove(target, source, static_cast<size_t>(bytes));
    return KRN_OK;
}

krn_status set(void *state, void *to, uint8_t value, int64_t bytes, void *) {
    if (bytes == 0)
        return KRN_OK;
    DeviceMemory &memory = state_of(state).memory;
    const std::shared_lock<std::shared_mutex> guard(memory.lock);
    uint8_t *const target = find(memory, "the memory to set", to, bytes);
    if (target == nullptr)
        return KRN_ERROR_DEVICE;
    memset(target, value, static_cast<size_t>(bytes));
    return KRN_OK;
}

krn_status stream_create(void *state, void **stream) {
    *stream = new (std::nothrow) Stream{static_cast<State *>(state)};
    return *stream != nullptr ? KRN_OK : fail(KRN_ERROR_OUT_OF_MEMORY, "could not allocate a stream");
}

krn_status stream_destroy(void *, void *stream) {
    delete static_cast<Stream *>(stream);
    return KRN_OK;
}

krn_status stream_synchronize(void *, void *) { return KRN_OK; }

krn_status check_launch(const Device &device, const krn_cuda_launch &l, const Registration *kernel) {
    if (kernel == nullptr)
        return fail(KRN_ERROR_INTERNAL, "there is no kernel %s", l.kernel);
    if (l.params_bytes != kernel->params_bytes)
        return fail(KRN_ERROR_INTERNAL, "kernel %s takes %llu bytes of parameters, was given %u", l.kernel,
                    static_cast<unsigned long long>(kernel->params_bytes), l.params_bytes);
    if (l.grid[0] == 0 || l.grid[1] == 0 || l.grid[2] == 0 || l.grid[0] > INT32_MAX || l.grid[1] > 65535 ||
        l.grid[2] > 65535)
        return fail(KRN_ERROR_DEVICE, "kernel %s: a grid of %u x %u x %u blocks cannot be launched", l.kernel,
                    l.grid[0], l.grid[1], l.grid[2]);
    if (l.block[1] != 1 || l.block[2] != 1 || l.block[0] == 0 || l.block[0] % 32 != 0 ||
        l.block[0] > static_cast<uint32_t>(kernel->max_threads))
        return fail(
            KRN_ERROR_DEVICE,
            "kernel %s: blocks of %u x %u x %u threads; it takes whole warps in one dimension, at most %d threads",
            l.kernel, l.block[0], l.block[1], l.block[2], kernel->max_threads);
    if (l.cluster[0] > 1 || l.cluster[1] > 1 || l.cluster[2] > 1)
        return fail(KRN_ERROR_UNSUPPORTED, "kernel %s: the emulator has no clusters", l.kernel);
    if (l.shared_bytes > device.shared_bytes_per_block)
        return fail(KRN_ERROR_DEVICE, "kernel %s: %u bytes of shared memory; the device has %u", l.kernel,
                    l.shared_bytes, device.shared_bytes_per_block);
    return KRN_OK;
}

krn_status launch(void *opened, const krn_cuda_launch *l, void *) {
    State &state = state_of(opened);
    const Registration *const kernel = Registration::find(l->kernel);
    const krn_status status = check_launch(state.device, *l, kernel);
    if (status != KRN_OK)
        return status;
    try {
        const std::shared_lock<std::shared_mutex> guard(state.memory.lock);
        Launch run = {};
        run.kernel = kernel;
        /* Aligned as tensor maps in it want to be. */
        std::vector<krn_cuda_tensor_map> params(l->params_bytes / sizeof(krn_cuda_tensor_map) + 1);
        memcpy(params.data(), l->params, l->params_bytes);
        run.params = params.data();
        memcpy(run.grid, l->grid, sizeof run.grid);
        run.block_threads = static_cast<int32_t>(l->block[0]);
        run.shared_bytes = l->shared_bytes;
        run.capability = state.device.capability;
        run.memory = &state.memory;
        if (!run_launch(run))
            return fail(KRN_ERROR_KERNEL_FAULT, "%s", run.fault.c_str());
        return KRN_OK;
    } catch (const std::bad_alloc &) {
        return fail(KRN_ERROR_OUT_OF_MEMORY, "could not allocate what the emulator needs to run kernel %s", l->kernel);
    }
}

krn_status tensor_map(void *state, void *map, const krn_cuda_tensor_map_desc *desc) {
    char why[160];
    TensorMap encoded;
    if (state_of(state).device.capability < 90)
        return fail(KRN_ERROR_UNSUPPORTED, "%s has no tensor maps", state_of(state).device.name);
    if (!encode_tensor_map(*desc, &encoded, why, sizeof why))
        return fail(KRN_ERROR_INVALID_ARGUMENT, "%s", why);
    memset(map, 0, KRN_CUDA_TENSOR_MAP_BYTES);
    memcpy(map, &encoded, sizeof encoded);
    return KRN_OK;
}

const krn_cuda_backend backend = {
    sizeof(krn_cuda_backend),
    1,
    "emulator",
    device_count,
    open,
    close,
    properties,
    allocate,
    release,
    copy_to_device,
    copy_to_host,
    copy_on_device,
    set,
    stream_create,
    stream_destroy,
    stream_synchronize,
    launch,
    tensor_map,
};

} // namespace
} // namespace emulator

const krn_cuda_backend *krn_cuda_emulator(void) { return &emulator::backend; }
