/* The one place where a compiler or an operating system is spelled out. */
#ifndef KRN_PORTABILITY_H
#define KRN_PORTABILITY_H

#if defined(__x86_64__) || defined(_M_X64)
#define KRN_X86_64 1
#elif defined(__aarch64__) || defined(_M_ARM64)
#define KRN_ARM64 1
#endif

#if defined(_MSC_VER) && !defined(__clang__)
#include <intrin.h>
#define KRN_THREAD_LOCAL __declspec(thread)
#define KRN_ALWAYS_INLINE static __forceinline
#define KRN_PRINTF(format_index, first_argument)
#define KRN_UNROLL
#define KRN_IN_ORDER(vector) ((void)0)
#define KRN_KEEP(vector) ((void)0)
#define KRN_PREFETCH(address) _mm_prefetch((const char *)(address), _MM_HINT_T0)
#define KRN_PREFETCH_ONCE(address) _mm_prefetch((const char *)(address), _MM_HINT_NTA)
#else
#define KRN_THREAD_LOCAL _Thread_local
#define KRN_ALWAYS_INLINE static inline __attribute__((always_inline))
#define KRN_PRINTF(format_index, first_argument) __attribute__((format(printf, format_index, first_argument)))
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
/* A hint that brings a line near; any address will do. */
#define KRN_PREFETCH(address) __builtin_prefetch((address), 0, 3)
/* The same for what is needed soon and then no more: it is kept out of the outer caches. */
#define KRN_PREFETCH_ONCE(address) __builtin_prefetch((address), 0, 0)
/* Accumulator tiles are arrays that live in registers only when every loop over them is unrolled. The checks that
 * sanitizers put into a loop stop GCC from unrolling it, of which it warns. */
#if defined(__OPTIMIZE__) && !defined(__SANITIZE_ADDRESS__)
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

/* Orders streaming stores before whatever tells another thread that they are done. */
#if defined(KRN_X86_64)
#include <xmmintrin.h>
#define KRN_STREAM_FENCE() _mm_sfence()
#else
#define KRN_STREAM_FENCE() ((void)0)
#endif

#endif
