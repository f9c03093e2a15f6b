/* The one place where a compiler or an operating system is spelled out. */
#ifndef KRN_PORTABILITY_H
#define KRN_PORTABILITY_H

#if defined(__x86_64__) || defined(_M_X64)
#define KRN_X86_64 1
#elif defined(__aarch64__) || defined(_M_ARM64)
#define KRN_ARM64 1
#endif

#define KRN_STRINGIZE_TOKEN(x) #x
#define KRN_STRINGIZE(x) KRN_STRINGIZE_TOKEN(x)
#if defined(__clang__)
#define KRN_COMPILER "clang " KRN_STRINGIZE(__clang_major__) "." KRN_STRINGIZE(__clang_minor__)
#elif defined(__GNUC__)
#define KRN_COMPILER "gcc " KRN_STRINGIZE(__GNUC__) "." KRN_STRINGIZE(__GNUC_MINOR__)
#else
#define KRN_COMPILER "msvc " KRN_STRINGIZE(_MSC_VER)
#endif

/* Whether a sanitizer of memory watches, and whether it is AddressSanitizer; GCC says so by macros, Clang by features. */
#if defined(__SANITIZE_ADDRESS__)
#define KRN_ADDRESS_SANITIZER 1
#elif defined(__SANITIZE_THREAD__)
#define KRN_SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define KRN_ADDRESS_SANITIZER 1
#elif __has_feature(thread_sanitizer)
#define KRN_SANITIZED 1
#endif
#endif
#if defined(KRN_ADDRESS_SANITIZER)
#define KRN_SANITIZED 1
#endif

/* clang-cl defines _MSC_VER, and takes the spelling of Clang. */
#if defined(_MSC_VER) && !defined(__clang__)
#include <intrin.h>
#define KRN_THREAD_LOCAL __declspec(thread)
#define KRN_ALWAYS_INLINE static __forceinline
#define KRN_PRINTF(format_index, first_argument)
#define KRN_COMPILED_FOR(features)
#define KRN_UNROLL
#define KRN_IN_ORDER(vector) ((void)0)
#define KRN_KEEP(vector) ((void)0)
#define KRN_OPAQUE(pointer) ((void)0)
#define KRN_ADD_PRODUCTS_WITH(sum, instruction, vector, number, intrinsics) ((sum) = (intrinsics))
#if defined(KRN_ARM64)
/* PLDL1KEEP, PLDL1STRM, PLDL2KEEP. */
#define KRN_PREFETCH(address) __prefetch2((address), 0)
#define KRN_PREFETCH_ONCE(address) __prefetch2((address), 1)
#define KRN_PREFETCH_OUTER(address) __prefetch2((address), 2)
#else
#define KRN_PREFETCH(address) _mm_prefetch((const char *)(address), _MM_HINT_T0)
#define KRN_PREFETCH_ONCE(address) _mm_prefetch((const char *)(address), _MM_HINT_NTA)
#define KRN_PREFETCH_OUTER(address) _mm_prefetch((const char *)(address), _MM_HINT_T1)
#endif
#else
#define KRN_THREAD_LOCAL _Thread_local
#define KRN_ALWAYS_INLINE static inline __attribute__((always_inline))
#define KRN_PRINTF(format_index, first_argument) __attribute__((format(printf, format_index, first_argument)))
/* A function that may use instructions which the file is not compiled for; MSVC allows them anywhere. */
#define KRN_COMPILED_FOR(features) __attribute__((target(features)))
/* Any vector register there is, to an assembler statement. */
#if defined(KRN_ARM64)
#define KRN_ANY_VECTOR "+w"
#else
#define KRN_ANY_VECTOR "+v"
#endif
/* Keeps the compiler from taking a chain of additions apart: GCC computes all addends first, for which the registers
 * are not enough. */
#define KRN_IN_ORDER(vector) __asm__("" : KRN_ANY_VECTOR(vector))
/* Ends what a vector was made by, a loop of accumulators for example. Without it GCC (12) computes what follows on some
 * paths already before the loop, and then has accumulators twice, most of them in memory. */
#define KRN_KEEP(vector) __asm__("" : KRN_ANY_VECTOR(vector))
/* A pointer of which the compiler knows no longer where it came from. Of many addresses a variable distance apart GCC (12)
 * otherwise keeps every one of them for the whole loop, in memory. */
#define KRN_OPAQUE(pointer) __asm__("" : "+r"(pointer))
/* sum += vector * *number by an AVX-512 instruction that broadcasts what it loads. `intrinsics` says the same; of those
 * GCC makes a broadcast of its own for all products that share a number, or for some instructions in any case. */
#define KRN_ADD_PRODUCTS_WITH(sum, instruction, vector, number, intrinsics)                                            \
    __asm__(instruction " %2%{1to16%}, %1, %0" : "+v"(sum) : "v"(vector), "m"(*(number)))
/* A hint that brings a line near; any address will do. */
#define KRN_PREFETCH(address) __builtin_prefetch((address), 0, 3)
/* The same for what is needed soon and then no more: it is kept out of the outer caches. */
#define KRN_PREFETCH_ONCE(address) __builtin_prefetch((address), 0, 0)
/* The same for what is needed later: it goes to the second-level cache and leaves the first alone. */
#define KRN_PREFETCH_OUTER(address) __builtin_prefetch((address), 0, 2)
/* Accumulator tiles are arrays that live in registers only when every loop over them is unrolled. The checks that
 * sanitizers put into a loop stop GCC from unrolling it, of which it warns. */
#if defined(__OPTIMIZE__) && !defined(KRN_SANITIZED) && defined(__clang__)
#define KRN_UNROLL _Pragma("clang loop unroll_count(16)")
#elif defined(__OPTIMIZE__) && !defined(KRN_SANITIZED)
#define KRN_UNROLL _Pragma("GCC unroll 16")
#else
#define KRN_UNROLL
#endif
#endif

/* Before a function that does not return; C++ has another word for it than C11. */
#if defined(__cplusplus)
#define KRN_NORETURN [[noreturn]]
#else
#define KRN_NORETURN _Noreturn
#endif

/* Orders streaming stores before whatever tells another thread that they are done; and what a loop does that waits for
 * another thread. */
#if defined(KRN_X86_64)
#include <emmintrin.h>
#define KRN_STREAM_FENCE() _mm_sfence()
#define KRN_SPIN_PAUSE() _mm_pause()
#else
#define KRN_STREAM_FENCE() ((void)0)
#define KRN_SPIN_PAUSE() ((void)0)
#endif

/* What the processor says of itself, and which registers the operating system saves. */
#if defined(KRN_X86_64)
#include <stdint.h>
#if defined(_MSC_VER)
#include <intrin.h>
static inline void krn_cpuid(uint32_t leaf, uint32_t subleaf, uint32_t out[4]) {
    __cpuidex((int *)out, (int)leaf, (int)subleaf);
}
static inline uint64_t krn_xcr0(void) { return _xgetbv(0); }
#else
#include <cpuid.h>
static inline void krn_cpuid(uint32_t leaf, uint32_t subleaf, uint32_t out[4]) {
    __cpuid_count(leaf, subleaf, out[0], out[1], out[2], out[3]);
}
static inline uint64_t krn_xcr0(void) {
    uint32_t low, high;
    __asm__("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return ((uint64_t)high << 32) | low;
}
#endif
#endif

#endif
