/* The kernel of RoPE and the table of its variants. */
#ifndef KRN_ROPE_VARIANTS_H
#define KRN_ROPE_VARIANTS_H

#include "common/portability.h"
#include "kernels/rope.h"

/* The variants, best first. To add one, write one file that defines it and add one line here. */
#if defined(KRN_X86_64)
#define KRN_ROPE_VARIANTS(X)                                                                                           \
    X(krn_rope_avx512)                                                                                                 \
    X(krn_rope_avx2)                                                                                                   \
    X(krn_rope_ref)
#elif defined(KRN_ARM64)
#define KRN_ROPE_VARIANTS(X)                                                                                           \
    X(krn_rope_neon)                                                                                                   \
    X(krn_rope_ref)
#else
#define KRN_ROPE_VARIANTS(X) X(krn_rope_ref)
#endif

/* The heads of one token. */
typedef struct krn_rope_heads {
    /* A krn_rope_layout. */
    int32_t layout;
    int64_t heads;
    int64_t head_dim;
    /* Even, at least 2. */
    int64_t rotary_dim;
} krn_rope_heads;

/* What a variant does. Every variant gives the bits of krn_rope_ref. */
typedef struct krn_rope_kernels {
    const char *name;
    /* The krn_cpu_feature bits without which the variant must not run. */
    uint64_t features;
    /* Rotates heads x head_dim consecutive elements by the rotary_dim floats of a table's row. The target is the
     * source, of the same type, or does not overlap it. Nothing outside these elements is read or written. */
    void (*rotate)(const krn_rope_heads *shape, const float *cos_sin, int32_t source_type, const void *source,
                   int32_t target_type, void *target);
} krn_rope_kernels;

#define KRN_ROPE_DECLARE(variant) extern const krn_rope_kernels variant;
KRN_ROPE_VARIANTS(KRN_ROPE_DECLARE)
#undef KRN_ROPE_DECLARE

#endif
