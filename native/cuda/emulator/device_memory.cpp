#include "cuda/emulator/device_memory.h"

#include <new>
#include <stdio.h>
#include <string.h>

namespace emulator {

DeviceMemory::Result DeviceMemory::allocate(int64_t bytes, void **address) {
    const std::unique_lock<std::shared_mutex> guard(lock);
    if (bytes > capacity - used)
        return Result::OUT_OF_MEMORY;
    try {
        const auto a = std::make_shared<Allocation>();
        a->bytes = static_cast<uint64_t>(bytes);
        a->memory.reset(new uint8_t[a->bytes]);
        /* As recognisable as memory of a device is not. */
        memset(a->memory.get(), 0xCD, a->bytes);
        a->offset = slots.size() * SLOT_BYTES + ALIGNMENT;
        const uint64_t count = (ALIGNMENT + a->bytes) / SLOT_BYTES + 1;
        slots.insert(slots.end(), count, a);
        used += bytes;
        *address = reinterpret_cast<void *>(BASE + a->offset);
        return Result::OK;
    } catch (const std::bad_alloc &) {
        return Result::OUT_OF_MEMORY;
    }
}

DeviceMemory::Result DeviceMemory::release(void *address) {
    const std::unique_lock<std::shared_mutex> guard(lock);
    const uint64_t offset = reinterpret_cast<uint64_t>(address) - BASE;
    uint64_t slot = offset / SLOT_BYTES;
    if (slot >= slots.size() || slots[slot] == nullptr || slots[slot]->offset != offset)
        return Result::NOT_ALLOCATED;
    const std::shared_ptr<Allocation> a = slots[slot];
    used -= static_cast<int64_t>(a->bytes);
    for (; slot < slots.size() && slots[slot] == a; slot++)
        slots[slot].reset();
    return Result::OK;
}

void DeviceMemory::describe(const void *address, char *text, size_t text_bytes) const {
    const uint64_t offset = reinterpret_cast<uint64_t>(address) - BASE;
    const uint64_t slot = offset / SLOT_BYTES;
    if (slot >= slots.size()) {
        snprintf(text, text_bytes, "which is no device memory");
        return;
    }
    if (slots[slot] == nullptr) {
        snprintf(text, text_bytes, "which was freed");
        return;
    }
    const Allocation &a = *slots[slot];
    if (offset < a.offset)
        snprintf(text, text_bytes, "%llu bytes before an allocation of %llu bytes",
                 static_cast<unsigned long long>(a.offset - offset), static_cast<unsigned long long>(a.bytes));
    else
        snprintf(text, text_bytes, "%llu bytes into an allocation of %llu bytes",
                 static_cast<unsigned long long>(offset - a.offset), static_cast<unsigned long long>(a.bytes));
}

} // namespace emulator
