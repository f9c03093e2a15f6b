/* Operations on words that several blocks share. Relaxed unless the name says otherwise. */
#ifndef KRN_PTX_ATOMIC_H
#define KRN_PTX_ATOMIC_H

#include "cuda/ptx/memory.h"

namespace ptx {

#if defined(__CUDACC__)

/* Each gives the value before. */
KRN_DEVICE uint32_t atomic_add(uint32_t *address, uint32_t value) { return atomicAdd(address, value); }
KRN_DEVICE int32_t atomic_add(int32_t *address, int32_t value) { return atomicAdd(address, value); }
KRN_DEVICE float atomic_add(float *address, float value) { return atomicAdd(address, value); }
KRN_DEVICE int32_t atomic_or(int32_t *address, int32_t value) { return atomicOr(address, value); }
KRN_DEVICE int32_t atomic_max(int32_t *address, int32_t value) { return atomicMax(address, value); }
KRN_DEVICE uint32_t atomic_max(uint32_t *address, uint32_t value) { return atomicMax(address, value); }
KRN_DEVICE int32_t atomic_exchange(int32_t *address, int32_t value) { return atomicExch(address, value); }
/* Writes `value` where `expected` stands. */
KRN_DEVICE int32_t atomic_compare_exchange(int32_t *address, int32_t expected, int32_t value) {
    return atomicCAS(address, expected, value);
}

/* The same in shared memory. */
KRN_DEVICE int32_t atomic_add_shared(SharedAddress address, int32_t value) {
    int32_t old;
    asm volatile("atom.shared.add.s32 %0, [%1], %2;" : "=r"(old) : "r"(address), "r"(value) : "memory");
    return old;
}
KRN_DEVICE int32_t atomic_max_shared(SharedAddress address, int32_t value) {
    int32_t old;
    asm volatile("atom.shared.max.s32 %0, [%1], %2;" : "=r"(old) : "r"(address), "r"(value) : "memory");
    return old;
}

/* Reads a word that another block releases: what it wrote before, this thread sees after. Also the word to poll. */
KRN_DEVICE int32_t load_acquire_gpu(const int32_t *address) {
    int32_t value;
    asm volatile("ld.acquire.gpu.global.s32 %0, [%1];" : "=r"(value) : "l"(address) : "memory");
    return value;
}

KRN_DEVICE void store_release_gpu(int32_t *address, int32_t value) {
    asm volatile("st.release.gpu.global.s32 [%0], %1;" ::"l"(address), "r"(value) : "memory");
}

/* Adds with release: what this thread wrote before is seen by who acquires the sum. */
KRN_DEVICE int32_t atomic_add_release_gpu(int32_t *address, int32_t value) {
    int32_t old;
    asm volatile("atom.release.gpu.global.add.s32 %0, [%1], %2;" : "=r"(old) : "l"(address), "r"(value) : "memory");
    return old;
}

KRN_DEVICE int32_t atomic_add_acquire_release_gpu(int32_t *address, int32_t value) {
    int32_t old;
    asm volatile("atom.acq_rel.gpu.global.add.s32 %0, [%1], %2;" : "=r"(old) : "l"(address), "r"(value) : "memory");
    return old;
}

/* Orders this thread's accesses before and after it, as all threads of the device see them. */
KRN_DEVICE void fence_gpu() { asm volatile("fence.acq_rel.gpu;" ::: "memory"); }

#else

/* A read-modify-write of a word by `change`. Who changes nothing may be polling, but for additions: sums are often of
 * zeros. */
template <class T, class Change>
KRN_DEVICE T atomic_global(const char *instruction, T *address, Change change, bool may_poll = true) {
    T old, value;
    void *const at = emulator::modify_global(instruction, address, sizeof(T));
    __builtin_memcpy(&old, at, sizeof old);
    value = change(old);
    __builtin_memcpy(at, &value, sizeof value);
    if (may_poll && bits_as<uint32_t>(old) == bits_as<uint32_t>(value))
        emulator::poll();
    else
        emulator::changed();
    return old;
}

KRN_DEVICE uint32_t atomic_add(uint32_t *address, uint32_t value) {
    return atomic_global(
        "atom.global.add", address, [=](uint32_t old) { return old + value; }, false);
}
KRN_DEVICE int32_t atomic_add(int32_t *address, int32_t value) {
    return atomic_global(
        "atom.global.add", address,
        [=](int32_t old) { return static_cast<int32_t>(static_cast<uint32_t>(old) + static_cast<uint32_t>(value)); },
        false);
}
KRN_DEVICE float atomic_add(float *address, float value) {
    return atomic_global(
        "atom.global.add", address, [=](float old) { return old + value; }, false);
}
KRN_DEVICE int32_t atomic_or(int32_t *address, int32_t value) {
    return atomic_global("atom.global.or", address, [=](int32_t old) { return old | value; });
}
KRN_DEVICE int32_t atomic_max(int32_t *address, int32_t value) {
    return atomic_global("atom.global.max", address, [=](int32_t old) { return old > value ? old : value; });
}
KRN_DEVICE uint32_t atomic_max(uint32_t *address, uint32_t value) {
    return atomic_global("atom.global.max", address, [=](uint32_t old) { return old > value ? old : value; });
}
KRN_DEVICE int32_t atomic_exchange(int32_t *address, int32_t value) {
    return atomic_global("atom.global.exch", address, [=](int32_t) { return value; });
}
KRN_DEVICE int32_t atomic_compare_exchange(int32_t *address, int32_t expected, int32_t value) {
    return atomic_global("atom.global.cas", address, [=](int32_t old) { return old == expected ? value : old; });
}

template <class Change>
KRN_DEVICE int32_t atomic_shared(const char *instruction, SharedAddress address, Change change, bool may_poll = true) {
    int32_t old, value;
    void *const at = emulator::modify_shared(instruction, address, sizeof old);
    __builtin_memcpy(&old, at, sizeof old);
    value = change(old);
    __builtin_memcpy(at, &value, sizeof value);
    if (may_poll && old == value)
        emulator::poll();
    else
        emulator::changed();
    return old;
}

KRN_DEVICE int32_t atomic_add_shared(SharedAddress address, int32_t value) {
    return atomic_shared(
        "atom.shared.add", address,
        [=](int32_t old) { return static_cast<int32_t>(static_cast<uint32_t>(old) + static_cast<uint32_t>(value)); },
        false);
}
KRN_DEVICE int32_t atomic_max_shared(SharedAddress address, int32_t value) {
    return atomic_shared("atom.shared.max", address, [=](int32_t old) { return old > value ? old : value; });
}

KRN_DEVICE int32_t load_acquire_gpu(const int32_t *address) {
    emulator::poll();
    return load_global(address);
}

KRN_DEVICE void store_release_gpu(int32_t *address, int32_t value) {
    store_global(address, value);
    emulator::changed();
}

KRN_DEVICE int32_t atomic_add_release_gpu(int32_t *address, int32_t value) { return atomic_add(address, value); }
KRN_DEVICE int32_t atomic_add_acquire_release_gpu(int32_t *address, int32_t value) {
    return atomic_add(address, value);
}
KRN_DEVICE void fence_gpu() {}

#endif

} // namespace ptx

#endif
