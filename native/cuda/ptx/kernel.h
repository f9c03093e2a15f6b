/* How a kernel is declared, and where a thread finds itself. Kernel sources are compiled twice: by nvcc for devices,
 * and as host C++ for the emulator, where every wrapper of this folder has a second body. docs/cuda.md says how to
 * write one. */
#ifndef KRN_PTX_KERNEL_H
#define KRN_PTX_KERNEL_H

#include <stdint.h>

#if defined(__CUDACC__)

/* A function that kernels call. Static, so that kernel sources may use the same names. */
#define KRN_DEVICE static __device__ __forceinline__
/* A function that is called: what is thousands of instructions long and used in several places. */
#define KRN_DEVICE_CALLED static __device__ __noinline__
/* The same for a member function. */
#define KRN_DEVICE_MEMBER __device__ __forceinline__
/* Before a loop: its index must be a constant in every iteration, so that what it indexes lives in registers. */
#define KRN_UNROLL_ALL _Pragma("unroll")
/* Before a loop that is not to be unrolled. */
#define KRN_UNROLL_NONE _Pragma("unroll 1")

/* A kernel of one parameter, a trivially copyable struct that the body calls `p`. `threads` is the largest number of
 * threads of a block; `min_blocks` blocks are to fit a multiprocessor at once, which bounds the registers. */
#define KRN_KERNEL(name, params_type, threads, min_blocks)                                                             \
    extern "C" __global__ void __launch_bounds__(threads, min_blocks) name(const __grid_constant__ params_type p)

namespace ptx {

KRN_DEVICE int32_t thread_x() { return static_cast<int32_t>(threadIdx.x); }
KRN_DEVICE int32_t block_threads() { return static_cast<int32_t>(blockDim.x); }
KRN_DEVICE int32_t block_x() { return static_cast<int32_t>(blockIdx.x); }
KRN_DEVICE int32_t block_y() { return static_cast<int32_t>(blockIdx.y); }
KRN_DEVICE int32_t block_z() { return static_cast<int32_t>(blockIdx.z); }
KRN_DEVICE int32_t grid_x() { return static_cast<int32_t>(gridDim.x); }
KRN_DEVICE int32_t grid_y() { return static_cast<int32_t>(gridDim.y); }
KRN_DEVICE int32_t grid_z() { return static_cast<int32_t>(gridDim.z); }

} // namespace ptx

#else

#include "cuda/emulator/kernel.h"

#define KRN_DEVICE [[maybe_unused]] static inline
#define KRN_DEVICE_CALLED [[maybe_unused]] static
#define KRN_DEVICE_MEMBER inline
#define KRN_UNROLL_ALL
#define KRN_UNROLL_NONE

#define KRN_KERNEL(name, params_type, threads, min_blocks)                                                             \
    static_assert((min_blocks) > 0, "a multiprocessor holds a block");                                                 \
    static void name(const params_type &p);                                                                            \
    static const emulator::Registration name##_registration(                                                           \
        #name, [](const void *params) { name(*static_cast<const params_type *>(params)); }, sizeof(params_type),       \
        threads);                                                                                                      \
    static void name(const params_type &p)

namespace ptx {

KRN_DEVICE int32_t thread_x() { return emulator::place().thread; }
KRN_DEVICE int32_t block_threads() { return emulator::place().block_threads; }
KRN_DEVICE int32_t block_x() { return emulator::place().block[0]; }
KRN_DEVICE int32_t block_y() { return emulator::place().block[1]; }
KRN_DEVICE int32_t block_z() { return emulator::place().block[2]; }
KRN_DEVICE int32_t grid_x() { return emulator::place().grid[0]; }
KRN_DEVICE int32_t grid_y() { return emulator::place().grid[1]; }
KRN_DEVICE int32_t grid_z() { return emulator::place().grid[2]; }

} // namespace ptx

#endif

namespace ptx {

/* Blocks have one dimension: warps are 32 consecutive threads of it. */
KRN_DEVICE int32_t lane() { return thread_x() & 31; }
KRN_DEVICE int32_t warp() { return thread_x() >> 5; }

/* The same bits as another type. */
template <class To, class From> KRN_DEVICE To bits_as(const From &from) {
    static_assert(sizeof(To) == sizeof(From), "the types differ in size");
    To to;
    __builtin_memcpy(&to, &from, sizeof to);
    return to;
}

/* What one instruction moves at most. */
struct alignas(8) U32x2 {
    uint32_t x, y;
};
struct alignas(16) U32x4 {
    uint32_t x, y, z, w;
};

} // namespace ptx

#endif
