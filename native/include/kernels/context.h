/* Contexts: which instruction set runs, on how many threads. Also machine memory for weights and workspaces.
 *
 * A context is made once and passed to every call. It is immutable but for its thread pool: one context serves
 * one call at a time. Callers that run concurrently make one context each; packed weights may be shared.
 */
#ifndef KERNELS_CONTEXT_H
#define KERNELS_CONTEXT_H

#include "kernels/common.h"

#ifdef __cplusplus
extern "C" {
#endif

/** Instruction set levels, each including the ones below it. The numbers are pinned. */
enum krn_isa {
    /** The best level that this machine and its operating system support. */
    KRN_ISA_AUTO = 0,
    /** The scalar reference: plain C, on every machine. */
    KRN_ISA_REF = 1,
    /** AVX2, FMA and F16C. */
    KRN_ISA_AVX2 = 10,
    /** AVX-512 F, BW, DQ and VL. */
    KRN_ISA_AVX512 = 20,
    /** KRN_ISA_AVX512 and VNNI, the integer dot product. */
    KRN_ISA_AVX512VNNI = 21,
    /** KRN_ISA_AVX512VNNI and BF16, the bfloat16 dot product. */
    KRN_ISA_AVX512BF16 = 22,
    /** NEON (Advanced SIMD) of 64-bit ARM, Armv8.0. */
    KRN_ISA_NEON = 30,
    /** KRN_ISA_NEON and the integer dot product (Armv8.2 DotProd). */
    KRN_ISA_NEON_DOTPROD = 31,
    /** KRN_ISA_NEON_DOTPROD and the integer matrix product (I8MM). */
    KRN_ISA_NEON_I8MM = 32,
    /** KRN_ISA_NEON_I8MM and the bfloat16 dot and matrix products (BF16). */
    KRN_ISA_NEON_BF16 = 33,
};

/** Bits of krn_cpu_features(). A bit is set when the processor has the feature and the operating system saves
 *  the registers that it uses. */
enum krn_cpu_feature {
    KRN_CPU_AVX2 = 1,
    KRN_CPU_FMA = 2,
    KRN_CPU_F16C = 4,
    KRN_CPU_AVX512F = 8,
    KRN_CPU_AVX512BW = 16,
    KRN_CPU_AVX512DQ = 32,
    KRN_CPU_AVX512VL = 64,
    KRN_CPU_AVX512VNNI = 128,
    KRN_CPU_AVX512BF16 = 256,
    /** Of no level: from KRN_ISA_AVX512VNNI on, used where the processor has it. */
    KRN_CPU_AVX512VBMI = 512,
    KRN_CPU_NEON = 4096,
    KRN_CPU_NEON_DOTPROD = 8192,
    KRN_CPU_NEON_I8MM = 16384,
    KRN_CPU_NEON_BF16 = 32768,
};

/** Threads, instruction set and pool of a caller. Opaque. */
typedef struct krn_context krn_context;

/** One piece of a parallel loop: to be called once for every index, from any thread, in any order. */
typedef void (*krn_task)(void *task_context, int64_t index);

/** A host's parallel loop: calls `task(task_context, i)` for every i in 0..count-1, concurrently if it likes, and
 *  returns when all calls have returned. It must not return early. */
typedef void (*krn_parallel_for)(void *host, int64_t count, krn_task task, void *task_context);

/** How krn_context_create makes a context. */
typedef struct krn_context_options {
    /** sizeof(krn_context_options). */
    uint32_t struct_size;
    /** A krn_isa. Default KRN_ISA_AUTO. */
    int32_t isa;
    /** Threads that work on a call, the caller's included. 1 starts no thread; 0 means one per logical processor
     *  that the process may use. At most 1024. With `parallel_for` it is the number of pieces work is cut into. */
    int32_t num_threads;
    /** Must be 0. */
    int32_t reserved;
    /** The host's parallel loop, or NULL to use the context's own pool. */
    krn_parallel_for parallel_for;
    /** Passed to `parallel_for` unchanged. */
    void *host;
} krn_context_options;

/** Makes a context. `options` may be NULL for all defaults (best instruction set, all processors, own pool).
 *  Errors: KRN_ERROR_ISA_UNAVAILABLE when the machine lacks the requested level (never a silent fallback),
 *  KRN_ERROR_THREAD, KRN_ERROR_OUT_OF_MEMORY. */
KRN_API krn_status krn_context_create(const krn_context_options *options, krn_context **context);

/** Ends the context's threads and frees it. NULL is fine. No call may be using the context. */
KRN_API void krn_context_destroy(krn_context *context);

/** The krn_isa level of a context; never KRN_ISA_AUTO. KRN_ISA_REF for NULL. */
KRN_API int32_t krn_context_isa(const krn_context *context);

/** The number of threads of a context, the caller's included. 1 for NULL. */
KRN_API int32_t krn_context_num_threads(const krn_context *context);

/** The krn_cpu_feature bits of this machine. */
KRN_API uint64_t krn_cpu_features(void);

/** Brand string of the processor, such as "AMD EPYC 9B14"; empty where the processor does not tell. Never NULL. */
KRN_API const char *krn_cpu_name(void);

/** The best krn_isa level of this machine. */
KRN_API int32_t krn_isa_best(void);

/** Lower-case name of a level ("auto", "ref", "avx2", "avx512", "avx512vnni", "avx512bf16", "neon", "neon_dotprod",
 *  "neon_i8mm", "neon_bf16"); NULL for a number that is not one. */
KRN_API const char *krn_isa_name(int32_t isa);

/** Allocates `bytes` bytes, zeroed, aligned to 64 bytes; from 2 MiB on aligned to huge pages, which the operating
 *  system is asked to use. What weights and workspaces live in. 0 bytes gives NULL and KRN_OK.
 *  Errors: KRN_ERROR_INVALID_ARGUMENT (negative), KRN_ERROR_OUT_OF_MEMORY. */
KRN_API krn_status krn_memory_allocate(int64_t bytes, void **memory);

/** Frees memory of krn_memory_allocate. NULL is fine. */
KRN_API void krn_memory_free(void *memory);

#ifdef __cplusplus
}
#endif

#endif
