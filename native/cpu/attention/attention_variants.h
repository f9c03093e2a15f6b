/* Every variant of attention, best first: the one place where a variant is registered. For keys and for values the
 * first row whose features the context has and that takes their type is the one that runs. */
#ifndef KRN_ATTENTION_VARIANTS_H
#define KRN_ATTENTION_VARIANTS_H

#include "attention/attention_kernel.h"
#include "common/portability.h"

#define KRN_ATTENTION_BIT(type) (1u << (type))
#define KRN_ATTENTION_INTEGERS                                                                                         \
    (KRN_ATTENTION_BIT(KRN_TYPE_S8) | KRN_ATTENTION_BIT(KRN_TYPE_S4) | KRN_ATTENTION_BIT(KRN_TYPE_U4))
#define KRN_ATTENTION_NARROW_FLOATS (KRN_ATTENTION_BIT(KRN_TYPE_BF16) | KRN_ATTENTION_BIT(KRN_TYPE_F8E4M3))
#define KRN_ATTENTION_FLOATS (KRN_ATTENTION_BIT(KRN_TYPE_F32) | KRN_ATTENTION_NARROW_FLOATS)
#define KRN_ATTENTION_ALL_TYPES (KRN_ATTENTION_INTEGERS | KRN_ATTENTION_FLOATS)

/* Largest weights of a block below this count as 0, so that 255 over them is finite. */
#define KRN_ATTENTION_LEAST_WEIGHT 0x1p-100f

#if defined(KRN_X86_64)
#define KRN_ATTENTION_VARIANTS(X)                                                                                      \
    X(krn_attention_avx512bf16)                                                                                        \
    X(krn_attention_avx512vnni)                                                                                        \
    X(krn_attention_integers_avx512)                                                                                   \
    X(krn_attention_avx512)                                                                                            \
    X(krn_attention_avx2)                                                                                              \
    X(krn_attention_ref)
#elif defined(KRN_ARM64)
#define KRN_ATTENTION_VARIANTS(X)                                                                                      \
    X(krn_attention_neon_bf16)                                                                                         \
    X(krn_attention_neon_i8mm)                                                                                         \
    X(krn_attention_neon_dotprod)                                                                                      \
    X(krn_attention_neon)                                                                                              \
    X(krn_attention_ref)
#else
#define KRN_ATTENTION_VARIANTS(X) X(krn_attention_ref)
#endif

#define KRN_ATTENTION_DECLARE(variant) extern const krn_attention_kernels variant;
KRN_ATTENTION_VARIANTS(KRN_ATTENTION_DECLARE)
#undef KRN_ATTENTION_DECLARE

#endif
