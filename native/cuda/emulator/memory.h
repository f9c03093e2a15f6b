/* Checked access to global and shared memory. A fault ends the launch and does not return. */
#ifndef KRN_EMULATOR_MEMORY_H
#define KRN_EMULATOR_MEMORY_H

#include <stdint.h>

namespace emulator {

/* The first byte of dynamic shared memory: not 0, which no device guarantees, and aligned for every swizzle. */
constexpr uint32_t SHARED_BASE = 1024;

/* Where the bytes are on the host, for an access of `bytes` bytes, a power of two, by the running thread. */
const void *read_global(const char *instruction, const void *address, uint32_t bytes);
void *write_global(const char *instruction, void *address, uint32_t bytes);
/* For an atomic operation, which tells by `changed` when it has written something new. */
void *modify_global(const char *instruction, void *address, uint32_t bytes);
/* Faults when a value to be stored is that of an accumulator which the tensor cores have. */
void check_value(const char *instruction, const void *value, uint32_t bytes);
const void *read_shared(const char *instruction, uint32_t address, uint32_t bytes);
void *write_shared(const char *instruction, uint32_t address, uint32_t bytes);
/* Atomic operations race with plain accesses, not with each other. */
void *modify_shared(const char *instruction, uint32_t address, uint32_t bytes);

/* Lets others run, as a thread does that polls a word until somebody changes it. When nobody can, the launch ends as
 * deadlocked. */
void poll();
/* Tells the scheduler that memory has changed, so that who polls may find what it waits for. */
void changed();

/* cp.async: copies valid_bytes of `bytes` and fills up with zeros. The bytes cannot be read before the wait. */
void copy_async(uint32_t address, const void *global, uint32_t bytes, uint32_t valid_bytes);
void copy_async_commit();
/* Waits until at most `pending` of the newest groups are in flight. */
void copy_async_wait(uint32_t pending);
/* Waits for all copies, committed or not. */
void copy_async_wait_all();

} // namespace emulator

#endif
