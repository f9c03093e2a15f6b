/* Every variant of the scale functions, best first. The suffix of a file's name selects its compiler flags. */
#ifndef KRN_SCALES_VARIANTS_H
#define KRN_SCALES_VARIANTS_H

#include "gemm/gemm_variants.h"
#include "gemm/scales.h"

#if defined(KRN_X86_64)
#define KRN_SCALES_VARIANTS(V)                                                                                         \
    V(krn_scales_avx512vbmi, KRN_NEEDS_AVX512 | KRN_CPU_AVX512VBMI)                                                    \
    V(krn_scales_avx512, KRN_NEEDS_AVX512)                                                                             \
    V(krn_scales_avx2, KRN_NEEDS_AVX2)                                                                                 \
    V(krn_scales_ref, 0)
#elif defined(KRN_ARM64)
#define KRN_SCALES_VARIANTS(V)                                                                                         \
    V(krn_scales_neon, KRN_CPU_NEON)                                                                                   \
    V(krn_scales_ref, 0)
#else
#define KRN_SCALES_VARIANTS(V) V(krn_scales_ref, 0)
#endif

#define KRN_SCALES_DECLARE(prefix, features)                                                                           \
    void prefix##_widen(const krn_scales_job *job);                                                                    \
    void prefix##_start(const krn_start_job *job);
KRN_SCALES_VARIANTS(KRN_SCALES_DECLARE)
#undef KRN_SCALES_DECLARE

#endif
