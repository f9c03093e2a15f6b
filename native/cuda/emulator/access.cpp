/* Loads, stores and cp.async of the running thread. */
#include "cuda/emulator/block.h"

namespace emulator {

static uint8_t *global(const char *instruction, const void *address, uint32_t bytes) {
    const Launch &launch = *running()->block->launch;
    if (reinterpret_cast<uint64_t>(address) % bytes != 0)
        fault("%s of %u bytes at global address %p, which is no multiple of %u", instruction, bytes, address, bytes);
    uint8_t *const at = launch.memory->find(address, bytes);
    if (at == nullptr) {
        char where[120];
        launch.memory->describe(address, where, sizeof where);
        fault("%s of %u bytes at global address %p, %s", instruction, bytes, address, where);
    }
    return at;
}

const void *read_global(const char *instruction, const void *address, uint32_t bytes) {
    return global(instruction, address, bytes);
}

void *write_global(const char *instruction, void *address, uint32_t bytes) {
    running()->block->launch->changes++;
    return global(instruction, address, bytes);
}

void *modify_global(const char *instruction, void *address, uint32_t bytes) {
    return global(instruction, address, bytes);
}

void check_value(const char *instruction, const void *value, uint32_t bytes) {
    const Thread &self = *running();
    if (!self.block->warpgroups[static_cast<uint32_t>(self.warp() / 4)].is_busy())
        return;
    for (uint32_t i = 0; i + 4 <= bytes; i += 4) {
        uint32_t word;
        __builtin_memcpy(&word, static_cast<const char *>(value) + i, sizeof word);
        if (word == Accumulators::POISON)
            fault("%s stores an accumulator of a wgmma in flight", instruction);
    }
}

static uint8_t *shared(const char *instruction, uint32_t address, uint32_t bytes, SharedMemory::Kind kind) {
    Thread &self = *running();
    return self.block->shared.access(instruction, address, bytes, kind, self.block->actor_of(self));
}

const void *read_shared(const char *instruction, uint32_t address, uint32_t bytes) {
    return shared(instruction, address, bytes, SharedMemory::Kind::READ);
}

void *write_shared(const char *instruction, uint32_t address, uint32_t bytes) {
    return shared(instruction, address, bytes, SharedMemory::Kind::WRITE);
}

void *modify_shared(const char *instruction, uint32_t address, uint32_t bytes) {
    return shared(instruction, address, bytes, SharedMemory::Kind::ATOMIC);
}

void poll() {
    Thread &self = *running();
    self.state = Thread::State::POLLING;
    self.block->wait(self);
}

void changed() { running()->block->launch->changes++; }

void copy_async(uint32_t address, const void *from, uint32_t bytes, uint32_t valid_bytes) {
    Thread &self = *running();
    if (valid_bytes > bytes)
        fault("cp.async of %u bytes with %u valid bytes", bytes, valid_bytes);
    if (reinterpret_cast<uint64_t>(from) % bytes != 0)
        fault("cp.async of %u bytes from global address %p, which is no multiple of %u", bytes, from, bytes);
    uint8_t *const to = shared("cp.async", address, bytes, SharedMemory::Kind::WRITE);
    for (uint32_t i = 0; i < bytes; i++)
        to[i] = 0;
    if (valid_bytes > 0) {
        const uint8_t *const source = self.block->launch->memory->find(from, valid_bytes);
        if (source == nullptr) {
            char where[120];
            self.block->launch->memory->describe(from, where, sizeof where);
            fault("cp.async of %u bytes from global address %p, %s", valid_bytes, from, where);
        }
        __builtin_memcpy(to, source, valid_bytes);
    }
    self.block->shared.set_landing(address, bytes, true);
    self.copies.push_back(AsyncCopy{address, bytes, self.next_group});
}

void copy_async_commit() { running()->next_group++; }

/* Lets all copies of groups before `end` land. */
static void land(Thread &self, uint32_t end) {
    Block &block = *self.block;
    const Actor actor = block.actor_of(self);
    size_t landed = 0;
    for (; landed < self.copies.size() && self.copies[landed].group < end; landed++) {
        const AsyncCopy &copy = self.copies[landed];
        block.shared.set_landing(copy.address, copy.bytes, false);
        block.shared.relabel(copy.address, copy.bytes, actor.entity, actor.clock);
    }
    self.copies.erase(self.copies.begin(), self.copies.begin() + static_cast<std::ptrdiff_t>(landed));
}

void copy_async_wait(uint32_t pending) {
    Thread &self = *running();
    if (self.next_group > pending)
        land(self, self.next_group - pending);
}

void copy_async_wait_all() {
    Thread &self = *running();
    self.next_group++;
    land(self, self.next_group);
}

} // namespace emulator
