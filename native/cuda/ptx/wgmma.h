/* wgmma: d[64, n] += a[64, k] b[k, n] by the four warps of a warpgroup, whose first is a multiple of 4, asynchronously.
 * k takes 32 bytes: 32 of s8 or u8, 16 of f16 or bf16. n is twice the length of the array d, which each thread gives:
 * 8, 16, 32, 64, 96, 128, 192 or 256 columns.
 *
 * With w, g = lane / 4, t = lane % 4 of warp w of the four:
 *   d[4 j], d[4 j + 1]      row 16 w + g,      columns 8 j + 2 t, 8 j + 2 t + 1
 *   d[4 j + 2], d[4 j + 3]  row 16 w + g + 8,  the same columns
 *   a in registers          rows 16 w .. as mma.sync has them (mma.h)
 *   a, b in shared memory   where a descriptor says
 *
 * The order of things: wgmma_fence, products, wgmma_commit, and wgmma_wait before anybody touches d, the registers of a
 * or the shared memory of a product again. Products on the same d may follow each other without a wait. What threads
 * wrote to shared memory reaches the tensor cores only past fence_proxy_async (tma.h) and a barrier. d is to be one
 * local array from the first product to the wait. sm_90a. */
#ifndef KRN_PTX_WGMMA_H
#define KRN_PTX_WGMMA_H

#include "cuda/ptx/memory.h"

#if !defined(__CUDACC__)
#include "cuda/emulator/asynchronous.h"
#endif

namespace ptx {

/* How an operand lies in shared memory: rows of so many bytes, their 16-byte chunks exchanged as a tensor map of that
 * swizzle does. The values are those of the descriptor. */
enum class Swizzle : uint32_t { NONE = 0, BYTES_128 = 1, BYTES_64 = 2, BYTES_32 = 3 };

/* The descriptor of an operand whose k is contiguous (a [m][k], b [n][k]). With a swizzle, rows are as long as it,
 * `start` is in the first of 8 rows at a multiple of 8 such rows, plus a multiple of 32 bytes for a further k, and the
 * next 8 rows follow `stride_bytes` later. Without, blocks of 8 rows of 16 bytes follow each other `leading_bytes`
 * apart along k.
 *
 * Of 16-bit b whose n is contiguous (b [k][n]; template argument 1): with a swizzle a row k has so many bytes of n, the
 * next n follow `leading_bytes` later and the next 8 k `stride_bytes` later; without, blocks of 8 k by 8 n follow each
 * other stride_bytes apart along n and leading_bytes along k. */
KRN_DEVICE uint64_t wgmma_descriptor(SharedAddress start, Swizzle swizzle, uint32_t leading_bytes,
                                     uint32_t stride_bytes) {
    return static_cast<uint64_t>(start >> 4 & 0x3FFF) | static_cast<uint64_t>(leading_bytes >> 4 & 0x3FFF) << 16 |
           static_cast<uint64_t>(stride_bytes >> 4 & 0x3FFF) << 32 | static_cast<uint64_t>(swizzle) << 62;
}

#if defined(__CUDACC__)

/* Before the first product, and whenever registers of one were touched. */
KRN_DEVICE void wgmma_fence() { asm volatile("wgmma.fence.sync.aligned;" ::: "memory"); }

/* Ends a group of products. */
KRN_DEVICE void wgmma_commit() { asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory"); }

/* Waits until at most `pending` of the newest groups are in flight. */
template <int32_t pending> KRN_DEVICE void wgmma_wait() {
    asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(pending) : "memory");
}

/* An assembler statement names each register, and no template makes lists of them: these macros are that list for each
 * length of d. The last lines of this part are the table of products. */
#define KRN_WGMMA_D4 "%0, %1, %2, %3"
#define KRN_WGMMA_D8 KRN_WGMMA_D4 ", %4, %5, %6, %7"
#define KRN_WGMMA_D16 KRN_WGMMA_D8 ", %8, %9, %10, %11, %12, %13, %14, %15"
#define KRN_WGMMA_D32                                                                                                  \
    KRN_WGMMA_D16                                                                                                      \
    ", %16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31"
#define KRN_WGMMA_D48                                                                                                  \
    KRN_WGMMA_D32                                                                                                      \
    ", %32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43, %44, %45, %46, %47"
#define KRN_WGMMA_D64                                                                                                  \
    KRN_WGMMA_D32                                                                                                      \
    ", %32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43, %44, %45, %46, %47"                                 \
    ", %48, %49, %50, %51, %52, %53, %54, %55, %56, %57, %58, %59, %60, %61, %62, %63"
#define KRN_WGMMA_D96                                                                                                  \
    KRN_WGMMA_D64                                                                                                      \
    ", %64, %65, %66, %67, %68, %69, %70, %71, %72, %73, %74, %75, %76, %77, %78, %79"                                 \
    ", %80, %81, %82, %83, %84, %85, %86, %87, %88, %89, %90, %91, %92, %93, %94, %95"
#define KRN_WGMMA_D128                                                                                                 \
    KRN_WGMMA_D64                                                                                                      \
    ", %64, %65, %66, %67, %68, %69, %70, %71, %72, %73, %74, %75, %76, %77, %78, %79"                                 \
    ", %80, %81, %82, %83, %84, %85, %86, %87, %88, %89, %90, %91, %92, %93, %94, %95"                                 \
    ", %96, %97, %98, %99, %100, %101, %102, %103, %104, %105, %106, %107, %108, %109, %110, %111"                     \
    ", %112, %113, %114, %115, %116, %117, %118, %119, %120, %121, %122, %123, %124, %125, %126, %127"
#define KRN_WGMMA_R4(c, d, i) c((d)[i]), c((d)[(i) + 1]), c((d)[(i) + 2]), c((d)[(i) + 3])
#define KRN_WGMMA_R8(c, d, i) KRN_WGMMA_R4(c, d, i), KRN_WGMMA_R4(c, d, (i) + 4)
#define KRN_WGMMA_R16(c, d, i) KRN_WGMMA_R8(c, d, i), KRN_WGMMA_R8(c, d, (i) + 8)
#define KRN_WGMMA_R32(c, d, i) KRN_WGMMA_R16(c, d, i), KRN_WGMMA_R16(c, d, (i) + 16)
#define KRN_WGMMA_R64(c, d, i) KRN_WGMMA_R32(c, d, i), KRN_WGMMA_R32(c, d, (i) + 32)
#define KRN_WGMMA_R128(c, d, i) KRN_WGMMA_R64(c, d, i), KRN_WGMMA_R64(c, d, (i) + 64)
#define KRN_WGMMA_R48(c, d, i) KRN_WGMMA_R32(c, d, i), KRN_WGMMA_R16(c, d, (i) + 32)
#define KRN_WGMMA_R96(c, d, i) KRN_WGMMA_R64(c, d, i), KRN_WGMMA_R32(c, d, (i) + 64)

/* Of 8-bit integers, a from shared memory and from registers. count = n / 2; after the registers of d come the
 * operands: numbers count + 0 to 6, as text. */
#define KRN_WGMMA_INTEGER(name, types, n, count, o0, o1, o2, o3, o4, o5, o6)                                           \
    KRN_DEVICE void name(int32_t(&d)[count], uint64_t a, uint64_t b, bool accumulates = true) {                        \
        asm volatile("{\n.reg .pred p;\nsetp.ne.b32 p, " o2 ", 0;\nwgmma.mma_async.sync.aligned.m64n" #n               \
                     "k32.s32." types " {" KRN_WGMMA_D##count "}, " o0 ", " o1 ", p;\n}"                               \
                     : KRN_WGMMA_R##count("+r", d, 0)                                                                  \
                     : "l"(a), "l"(b), "r"(static_cast<int32_t>(accumulates))                                          \
                     : "memory");                                                                                      \
    }                                                                                                                  \
    KRN_DEVICE void name(int32_t(&d)[count], const uint32_t(&a)[4], uint64_t b, bool accumulates = true) {             \
        asm volatile("{\n.reg .pred p;\nsetp.ne.b32 p, " o5 ", 0;\nwgmma.mma_async.sync.aligned.m64n" #n               \
                     "k32.s32." types " {" KRN_WGMMA_D##count "}, {" o0 ", " o1 ", " o2 ", " o3 "}, " o4 ", p;\n}"     \
                     : KRN_WGMMA_R##count("+r", d, 0)                                                                  \
                     : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b), "r"(static_cast<int32_t>(accumulates))      \
                     : "memory");                                                                                      \
    }
/* Of 16-bit floats. */
#define KRN_WGMMA_FLOAT(name, types, n, count, o0, o1, o2, o3, o4, o5, o6)                                             \
    template <int32_t b_is_n_major = 0>                                                                                \
    KRN_DEVICE void name(float(&d)[count], uint64_t a, uint64_t b, bool accumulates = true) {                          \
        asm volatile("{\n.reg .pred p;\nsetp.ne.b32 p, " o2 ", 0;\nwgmma.mma_async.sync.aligned.m64n" #n               \
                     "k16.f32." types " {" KRN_WGMMA_D##count "}, " o0 ", " o1 ", p, 1, 1, 0, " o3 ";\n}"              \
                     : KRN_WGMMA_R##count("+f", d, 0)                                                                  \
                     : "l"(a), "l"(b), "r"(static_cast<int32_t>(accumulates)), "n"(b_is_n_major)                       \
                     : "memory");                                                                                      \
    }                                                                                                                  \
    template <int32_t b_is_n_major = 0>                                                                                \
    KRN_DEVICE void name(float(&d)[count], const uint32_t(&a)[4], uint64_t b, bool accumulates = true) {               \
        asm volatile("{\n.reg .pred p;\nsetp.ne.b32 p, " o5 ", 0;\nwgmma.mma_async.sync.aligned.m64n" #n               \
                     "k16.f32." types " {" KRN_WGMMA_D##count "}, {" o0 ", " o1 ", " o2 ", " o3 "}, " o4               \
                                                              ", p, 1, 1, " o6 ";\n}"                                  \
                     : KRN_WGMMA_R##count("+f", d, 0)                                                                  \
                     : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b), "r"(static_cast<int32_t>(accumulates)),     \
                       "n"(b_is_n_major)                                                                               \
                     : "memory");                                                                                      \
    }
#define KRN_WGMMA(n, count, ...)                                                                                       \
    KRN_WGMMA_INTEGER(wgmma_k32_s8, "s8.s8", n, count, __VA_ARGS__)                                                    \
    KRN_WGMMA_INTEGER(wgmma_k32_u8s8, "u8.s8", n, count, __VA_ARGS__)                                                  \
    KRN_WGMMA_INTEGER(wgmma_k32_s8u8, "s8.u8", n, count, __VA_ARGS__)                                                  \
    KRN_WGMMA_FLOAT(wgmma_k16_f16, "f16.f16", n, count, __VA_ARGS__)                                                   \
    KRN_WGMMA_FLOAT(wgmma_k16_bf16, "bf16.bf16", n, count, __VA_ARGS__)

KRN_WGMMA(8, 4, "%4", "%5", "%6", "%7", "%8", "%9", "%10")
KRN_WGMMA(16, 8, "%8", "%9", "%10", "%11", "%12", "%13", "%14")
KRN_WGMMA(32, 16, "%16", "%17", "%18", "%19", "%20", "%21", "%22")
KRN_WGMMA(64, 32, "%32", "%33", "%34", "%35", "%36", "%37", "%38")
KRN_WGMMA(96, 48, "%48", "%49", "%50", "%51", "%52", "%53", "%54")
KRN_WGMMA(128, 64, "%64", "%65", "%66", "%67", "%68", "%69", "%70")
KRN_WGMMA(192, 96, "%96", "%97", "%98", "%99", "%100", "%101", "%102")
KRN_WGMMA(256, 128, "%128", "%129", "%130", "%131", "%132", "%133", "%134")

#else

/* Whether there is a product with so many accumulators to a thread. */
constexpr bool is_wgmma_count(int32_t count) {
    return count == 4 || count == 8 || count == 16 || count == 32 || count == 48 || count == 64 || count == 96 ||
           count == 128;
}

KRN_DEVICE void wgmma_fence() { emulator::wgmma_fence(); }
KRN_DEVICE void wgmma_commit() { emulator::wgmma_commit(); }
template <int32_t pending> KRN_DEVICE void wgmma_wait() { emulator::wgmma_wait(pending); }

template <int32_t count>
KRN_DEVICE void wgmma_k32_s8(int32_t (&d)[count], uint64_t a, uint64_t b, bool accumulates = true) {
    static_assert(is_wgmma_count(count), "no product has so many columns");
    emulator::wgmma({emulator::WgmmaType::S8S8, count * 2, false, accumulates}, d, nullptr, a, b);
}
template <int32_t count>
KRN_DEVICE void wgmma_k32_s8(int32_t (&d)[count], const uint32_t (&a)[4], uint64_t b, bool accumulates = true) {
    static_assert(is_wgmma_count(count), "no product has so many columns");
    emulator::wgmma({emulator::WgmmaType::S8S8, count * 2, false, accumulates}, d, a, 0, b);
}
template <int32_t count>
KRN_DEVICE void wgmma_k32_u8s8(int32_t (&d)[count], uint64_t a, uint64_t b, bool accumulates = true) {
    static_assert(is_wgmma_count(count), "no product has so many columns");
    emulator::wgmma({emulator::WgmmaType::U8S8, count * 2, false, accumulates}, d, nullptr, a, b);
}
template <int32_t count>
KRN_DEVICE void wgmma_k32_u8s8(int32_t (&d)[count], const uint32_t (&a)[4], uint64_t b, bool accumulates = true) {
    static_assert(is_wgmma_count(count), "no product has so many columns");
    emulator::wgmma({emulator::WgmmaType::U8S8, count * 2, false, accumulates}, d, a, 0, b);
}
template <int32_t count>
KRN_DEVICE void wgmma_k32_s8u8(int32_t (&d)[count], uint64_t a, uint64_t b, bool accumulates = true) {
    static_assert(is_wgmma_count(count), "no product has so many columns");
    emulator::wgmma({emulator::WgmmaType::S8U8, count * 2, false, accumulates}, d, nullptr, a, b);
}
template <int32_t count>
KRN_DEVICE void wgmma_k32_s8u8(int32_t (&d)[count], const uint32_t (&a)[4], uint64_t b, bool accumulates = true) {
    static_assert(is_wgmma_count(count), "no product has so many columns");
    emulator::wgmma({emulator::WgmmaType::S8U8, count * 2, false, accumulates}, d, a, 0, b);
}
template <int32_t b_is_n_major = 0, int32_t count>
KRN_DEVICE void wgmma_k16_f16(float (&d)[count], uint64_t a, uint64_t b, bool accumulates = true) {
    static_assert(is_wgmma_count(count), "no product has so many columns");
    emulator::wgmma({emulator::WgmmaType::F16, count * 2, b_is_n_major != 0, accumulates}, d, nullptr, a, b);
}
template <int32_t b_is_n_major = 0, int32_t count>
KRN_DEVICE void wgmma_k16_f16(float (&d)[count], const uint32_t (&a)[4], uint64_t b, bool accumulates = true) {
    static_assert(is_wgmma_count(count), "no product has so many columns");
    emulator::wgmma({emulator::WgmmaType::F16, count * 2, b_is_n_major != 0, accumulates}, d, a, 0, b);
}
template <int32_t b_is_n_major = 0, int32_t count>
KRN_DEVICE void wgmma_k16_bf16(float (&d)[count], uint64_t a, uint64_t b, bool accumulates = true) {
    static_assert(is_wgmma_count(count), "no product has so many columns");
    emulator::wgmma({emulator::WgmmaType::BF16, count * 2, b_is_n_major != 0, accumulates}, d, nullptr, a, b);
}
template <int32_t b_is_n_major = 0, int32_t count>
KRN_DEVICE void wgmma_k16_bf16(float (&d)[count], const uint32_t (&a)[4], uint64_t b, bool accumulates = true) {
    static_assert(is_wgmma_count(count), "no product has so many columns");
    emulator::wgmma({emulator::WgmmaType::BF16, count * 2, b_is_n_major != 0, accumulates}, d, a, 0, b);
}

#endif

} // namespace ptx

#endif
