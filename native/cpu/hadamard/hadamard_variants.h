/* The kernels of the Hadamard transform and the table of their variants. */
#ifndef KRN_HADAMARD_VARIANTS_H
#define KRN_HADAMARD_VARIANTS_H

#include "common/ahead.h"
#include "common/portability.h"
#include "hadamard/hadamard_plan.h"

/* The variants, best first. To add one, write one file that defines it and add one line here. */
#if defined(KRN_X86_64)
#define KRN_HADAMARD_VARIANTS(X)                                                                                       \
    X(krn_hadamard_avx512)                                                                                             \
    X(krn_hadamard_avx2)                                                                                               \
    X(krn_hadamard_ref)
#elif defined(KRN_ARM64)
#define KRN_HADAMARD_VARIANTS(X)                                                                                       \
    X(krn_hadamard_neon)                                                                                               \
    X(krn_hadamard_ref)
#else
#define KRN_HADAMARD_VARIANTS(X) X(krn_hadamard_ref)
#endif

/* What the caller knows about memory. It changes no result, and a variant may ignore it. */
typedef struct krn_hadamard_hints {
    /* How far behind a block the next one begins, if it is worth a prefetch; else 0. */
    int64_t ahead_bytes;
    /* Whether prefetches go to the second-level cache; see krn_cpu_has_small_l1. */
    int32_t is_outer;
    /* Whether the target, which is not the source, is better written past the caches. Such stores are ordered by
     * KRN_STREAM_FENCE alone. */
    int32_t stream;
} krn_hadamard_hints;

/* What a variant does. Every variant gives the bits of krn_hadamard_ref. */
typedef struct krn_hadamard_kernels {
    const char *name;
    /* The krn_cpu_feature bits without which the variant must not run. */
    uint64_t features;
    /* Transforms `blocks` consecutive blocks of plan->n elements of `type` (KRN_TYPE_F32, _F16 or _BF16) to floats, in
     * place or not: what another op does on the way, with a row that it holds in the caches. `ahead` changes no result,
     * and a variant may ignore it. */
    void (*row)(const krn_hadamard_plan *plan, int32_t type, int64_t blocks, const void *source, krn_ahead ahead,
                float *row);
    /* Transforms `blocks` consecutive blocks of `type` (KRN_TYPE_F32, _F16 or _BF16) from source to target, which are
     * the same or do not overlap. `scratch`, NULL for f32, has room for plan->n floats, aligned to 64. */
    void (*run)(const krn_hadamard_plan *plan, int32_t type, int64_t blocks, const void *source, void *target,
                float *scratch, krn_hadamard_hints hints);
} krn_hadamard_kernels;

#define KRN_HADAMARD_DECLARE(variant) extern const krn_hadamard_kernels variant;
KRN_HADAMARD_VARIANTS(KRN_HADAMARD_DECLARE)
#undef KRN_HADAMARD_DECLARE

/* The variant that runs in a context. */
const krn_hadamard_kernels *krn_hadamard_kernels_of(const krn_context *context);

#endif
