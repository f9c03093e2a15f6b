/* The one place where a compiler or an operating system is spelled out. */
#ifndef KRN_PORTABILITY_H
#define KRN_PORTABILITY_H

#if defined(__x86_64__) || defined(_M_X64)
#  define KRN_X86_64 1
#endif

#if defined(_MSC_VER) && !defined(__clang__)
#  define KRN_THREAD_LOCAL __declspec(thread)
#  define KRN_ALWAYS_INLINE static __forceinline
#  define KRN_PRINTF(format_index, first_argument)
#  define KRN_UNROLL
#else
#  define KRN_THREAD_LOCAL _Thread_local
#  define KRN_ALWAYS_INLINE static inline __attribute__((always_inline))
#  define KRN_PRINTF(format_index, first_argument) __attribute__((format(printf, format_index, first_argument)))
/* Accumulator tiles are arrays that live in registers only when every loop over them is unrolled. */
#  define KRN_UNROLL _Pragma("GCC unroll 16")
#endif

#endif
