/* The memory of a device. Addresses are none of the host's: a kernel, or a host, that uses one as a pointer past the
 * wrappers of ptx/ crashes at once. They are never used twice, so that stale ones are found. */
#ifndef KRN_EMULATOR_DEVICE_MEMORY_H
#define KRN_EMULATOR_DEVICE_MEMORY_H

#include <memory>
#include <mutex>
#include <shared_mutex>
#include <stdint.h>
#include <vector>

namespace emulator {

class DeviceMemory {
  public:
    explicit DeviceMemory(int64_t bytes) : capacity(bytes) {}

    enum class Result { OK, OUT_OF_MEMORY, NOT_ALLOCATED };
    Result allocate(int64_t bytes, void **address);
    Result release(void *address);

    /* Where the bytes are on the host; null unless one allocation has all of them. Only while `lock` is held. */
    uint8_t *find(const void *address, uint64_t bytes) const {
        const uint64_t offset = reinterpret_cast<uint64_t>(address) - BASE;
        const uint64_t slot = offset / SLOT_BYTES;
        if (slot >= slots.size() || slots[slot] == nullptr)
            return nullptr;
        const Allocation &a = *slots[slot];
        const uint64_t at = offset - a.offset;
        return at <= a.bytes && bytes <= a.bytes - at && offset >= a.offset ? a.memory.get() + at : nullptr;
    }
    /* One sentence about an address that is not in an allocation. */
    void describe(const void *address, char *text, size_t text_bytes) const;

    std::shared_mutex lock;

  private:
    struct Allocation {
        uint64_t offset, bytes;
        std::unique_ptr<uint8_t[]> memory;
    };
    /* Bit 48 is set and those above are not, which is an address of no program on x86-64 and 64-bit ARM. */
    static constexpr uint64_t BASE = UINT64_C(1) << 48;
    static constexpr uint64_t SLOT_BYTES = UINT64_C(1) << 20;
    /* Aligned as a device aligns, and to nothing more. */
    static constexpr uint64_t ALIGNMENT = 256;

    const int64_t capacity;
    int64_t used = 0;
    /* The allocation of each slot of addresses; null after its release. */
    std::vector<std::shared_ptr<Allocation>> slots;
};

} // namespace emulator

#endif
