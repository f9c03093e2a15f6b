/* Loads and stores. T is trivially copyable, of 1, 2, 4, 8 or 16 bytes, and lies at a multiple of its size. */
#ifndef KRN_PTX_MEMORY_H
#define KRN_PTX_MEMORY_H

#include "cuda/ptx/kernel.h"

#if !defined(__CUDACC__)
#include "cuda/emulator/memory.h"
#endif

namespace ptx {

/* A byte of the block's shared memory, counted as the device counts: 32 bits, good for arithmetic. */
using SharedAddress = uint32_t;

template <class T> constexpr bool is_one_access = sizeof(T) <= 16 && (sizeof(T) & (sizeof(T) - 1)) == 0;

#if defined(__CUDACC__)

/* Where dynamic shared memory begins; aligned to 1024 bytes, which the widest swizzle asks for. */
KRN_DEVICE SharedAddress shared_base() {
    extern __shared__ __align__(1024) uint8_t krn_shared[];
    return static_cast<SharedAddress>(__cvta_generic_to_shared(krn_shared));
}

/* Volatile and clobbering memory: the compiler leaves the order of these as it stands in the source. */
template <class T> KRN_DEVICE T load_shared(SharedAddress address) {
    static_assert(is_one_access<T>, "no instruction loads so many bytes");
    if constexpr (sizeof(T) == 16) {
        U32x4 v;
        asm volatile("ld.shared.v4.u32 {%0, %1, %2, %3}, [%4];"
                     : "=r"(v.x), "=r"(v.y), "=r"(v.z), "=r"(v.w)
                     : "r"(address)
                     : "memory");
        return bits_as<T>(v);
    } else if constexpr (sizeof(T) == 8) {
        U32x2 v;
        asm volatile("ld.shared.v2.u32 {%0, %1}, [%2];" : "=r"(v.x), "=r"(v.y) : "r"(address) : "memory");
        return bits_as<T>(v);
    } else if constexpr (sizeof(T) == 4) {
        uint32_t v;
        asm volatile("ld.shared.u32 %0, [%1];" : "=r"(v) : "r"(address) : "memory");
        return bits_as<T>(v);
    } else if constexpr (sizeof(T) == 2) {
        uint16_t v;
        asm volatile("ld.shared.u16 %0, [%1];" : "=h"(v) : "r"(address) : "memory");
        return bits_as<T>(v);
    } else {
        uint16_t v;
        asm volatile("ld.shared.u8 %0, [%1];" : "=h"(v) : "r"(address) : "memory");
        return bits_as<T>(static_cast<uint8_t>(v));
    }
}

template <class T> KRN_DEVICE void store_shared(SharedAddress address, const T &value) {
    static_assert(is_one_access<T>, "no instruction stores so many bytes");
    if constexpr (sizeof(T) == 16) {
        const U32x4 v = bits_as<U32x4>(value);
        asm volatile("st.shared.v4.u32 [%0], {%1, %2, %3, %4};" ::"r"(address), "r"(v.x), "r"(v.y), "r"(v.z), "r"(v.w)
                     : "memory");
    } else if constexpr (sizeof(T) == 8) {
        const U32x2 v = bits_as<U32x2>(value);
        asm volatile("st.shared.v2.u32 [%0], {%1, %2};" ::"r"(address), "r"(v.x), "r"(v.y) : "memory");
    } else if constexpr (sizeof(T) == 4) {
        asm volatile("st.shared.u32 [%0], %1;" ::"r"(address), "r"(bits_as<uint32_t>(value)) : "memory");
    } else if constexpr (sizeof(T) == 2) {
        asm volatile("st.shared.u16 [%0], %1;" ::"r"(address), "h"(bits_as<uint16_t>(value)) : "memory");
    } else {
        const uint16_t v = bits_as<uint8_t>(value);
        asm volatile("st.shared.u8 [%0], %1;" ::"r"(address), "h"(v) : "memory");
    }
}

/* Reads through the caches: for what this kernel may also write. */
template <class T> KRN_DEVICE T load_global(const T *address) {
    static_assert(is_one_access<T>, "no instruction loads so many bytes");
    if constexpr (sizeof(T) == 16) {
        U32x4 v;
        asm volatile("ld.global.v4.u32 {%0, %1, %2, %3}, [%4];"
                     : "=r"(v.x), "=r"(v.y), "=r"(v.z), "=r"(v.w)
                     : "l"(address)
                     : "memory");
        return bits_as<T>(v);
    } else if constexpr (sizeof(T) == 8) {
        U32x2 v;
        asm volatile("ld.global.v2.u32 {%0, %1}, [%2];" : "=r"(v.x), "=r"(v.y) : "l"(address) : "memory");
        return bits_as<T>(v);
    } else if constexpr (sizeof(T) == 4) {
        uint32_t v;
        asm volatile("ld.global.u32 %0, [%1];" : "=r"(v) : "l"(address) : "memory");
        return bits_as<T>(v);
    } else if constexpr (sizeof(T) == 2) {
        uint16_t v;
        asm volatile("ld.global.u16 %0, [%1];" : "=h"(v) : "l"(address) : "memory");
        return bits_as<T>(v);
    } else {
        uint16_t v;
        asm volatile("ld.global.u8 %0, [%1];" : "=h"(v) : "l"(address) : "memory");
        return bits_as<T>(static_cast<uint8_t>(v));
    }
}

/* For what nobody writes while the kernel runs. Not volatile: the compiler may move such loads up, and does. */
template <class T> KRN_DEVICE T load_global_nc(const T *address) {
    static_assert(is_one_access<T>, "no instruction loads so many bytes");
    if constexpr (sizeof(T) == 16) {
        U32x4 v;
        asm("ld.global.nc.v4.u32 {%0, %1, %2, %3}, [%4];" : "=r"(v.x), "=r"(v.y), "=r"(v.z), "=r"(v.w) : "l"(address));
        return bits_as<T>(v);
    } else if constexpr (sizeof(T) == 8) {
        U32x2 v;
        asm("ld.global.nc.v2.u32 {%0, %1}, [%2];" : "=r"(v.x), "=r"(v.y) : "l"(address));
        return bits_as<T>(v);
    } else if constexpr (sizeof(T) == 4) {
        uint32_t v;
        asm("ld.global.nc.u32 %0, [%1];" : "=r"(v) : "l"(address));
        return bits_as<T>(v);
    } else if constexpr (sizeof(T) == 2) {
        uint16_t v;
        asm("ld.global.nc.u16 %0, [%1];" : "=h"(v) : "l"(address));
        return bits_as<T>(v);
    } else {
        uint16_t v;
        asm("ld.global.nc.u8 %0, [%1];" : "=h"(v) : "l"(address));
        return bits_as<T>(static_cast<uint8_t>(v));
    }
}

/* load_global_nc of what is read once: it takes no place in the first-level cache. */
template <class T> KRN_DEVICE T load_global_streaming(const T *address) {
    static_assert(sizeof(T) == 4 || sizeof(T) == 8 || sizeof(T) == 16, "streams are read in words");
    if constexpr (sizeof(T) == 16) {
        U32x4 v;
        asm("ld.global.nc.L1::no_allocate.v4.u32 {%0, %1, %2, %3}, [%4];"
            : "=r"(v.x), "=r"(v.y), "=r"(v.z), "=r"(v.w)
            : "l"(address));
        return bits_as<T>(v);
    } else if constexpr (sizeof(T) == 8) {
        U32x2 v;
        asm("ld.global.nc.L1::no_allocate.v2.u32 {%0, %1}, [%2];" : "=r"(v.x), "=r"(v.y) : "l"(address));
        return bits_as<T>(v);
    } else {
        uint32_t v;
        asm("ld.global.nc.L1::no_allocate.u32 %0, [%1];" : "=r"(v) : "l"(address));
        return bits_as<T>(v);
    }
}

template <class T> KRN_DEVICE void store_global(T *address, const T &value) {
    static_assert(is_one_access<T>, "no instruction stores so many bytes");
    if constexpr (sizeof(T) == 16) {
        const U32x4 v = bits_as<U32x4>(value);
        asm volatile("st.global.v4.u32 [%0], {%1, %2, %3, %4};" ::"l"(address), "r"(v.x), "r"(v.y), "r"(v.z), "r"(v.w)
                     : "memory");
    } else if constexpr (sizeof(T) == 8) {
        const U32x2 v = bits_as<U32x2>(value);
        asm volatile("st.global.v2.u32 [%0], {%1, %2};" ::"l"(address), "r"(v.x), "r"(v.y) : "memory");
    } else if constexpr (sizeof(T) == 4) {
        asm volatile("st.global.u32 [%0], %1;" ::"l"(address), "r"(bits_as<uint32_t>(value)) : "memory");
    } else if constexpr (sizeof(T) == 2) {
        asm volatile("st.global.u16 [%0], %1;" ::"l"(address), "h"(bits_as<uint16_t>(value)) : "memory");
    } else {
        const uint16_t v = bits_as<uint8_t>(value);
        asm volatile("st.global.u8 [%0], %1;" ::"l"(address), "h"(v) : "memory");
    }
}

#else

KRN_DEVICE SharedAddress shared_base() { return emulator::SHARED_BASE; }

template <class T> KRN_DEVICE T load_shared(SharedAddress address) {
    static_assert(is_one_access<T>, "no instruction loads so many bytes");
    T value;
    __builtin_memcpy(&value, emulator::read_shared("ld.shared", address, sizeof(T)), sizeof(T));
    return value;
}

template <class T> KRN_DEVICE void store_shared(SharedAddress address, const T &value) {
    static_assert(is_one_access<T>, "no instruction stores so many bytes");
    emulator::check_value("st.shared", &value, sizeof(T));
    __builtin_memcpy(emulator::write_shared("st.shared", address, sizeof(T)), &value, sizeof(T));
}

template <class T> KRN_DEVICE T load_global(const T *address) {
    static_assert(is_one_access<T>, "no instruction loads so many bytes");
    T value;
    __builtin_memcpy(&value, emulator::read_global("ld.global", address, sizeof(T)), sizeof(T));
    return value;
}

template <class T> KRN_DEVICE T load_global_nc(const T *address) { return load_global(address); }

template <class T> KRN_DEVICE T load_global_streaming(const T *address) {
    static_assert(sizeof(T) == 4 || sizeof(T) == 8 || sizeof(T) == 16, "streams are read in words");
    return load_global(address);
}

template <class T> KRN_DEVICE void store_global(T *address, const T &value) {
    static_assert(is_one_access<T>, "no instruction stores so many bytes");
    emulator::check_value("st.global", &value, sizeof(T));
    __builtin_memcpy(emulator::write_global("st.global", address, sizeof(T)), &value, sizeof(T));
}

#endif

} // namespace ptx

#endif
