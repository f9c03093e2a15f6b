/* Every GEMM variant, best first: the one place where a variant is registered. The first row whose features the context
 * has and whose cell fits is the one that runs. */
#ifndef KRN_GEMM_VARIANTS_H
#define KRN_GEMM_VARIANTS_H

#include "common/portability.h"
#include "gemm/gemm_kernel.h"

#define KRN_BIT(type) (1u << (type))
#define KRN_W8 KRN_BIT(KRN_TYPE_S8)
#define KRN_W4 (KRN_BIT(KRN_TYPE_S4) | KRN_BIT(KRN_TYPE_U4))
#define KRN_W4C (KRN_W4 | KRN_BIT(KRN_TYPE_C4))
/* s4 activations are packed as s8: the multiplier takes 8 bits, and 4 would have to be widened once per tile of
 * weights. */
#define KRN_A8 (KRN_BIT(KRN_TYPE_S8) | KRN_BIT(KRN_TYPE_U8) | KRN_BIT(KRN_TYPE_S4))
#define KRN_A16 (KRN_BIT(KRN_TYPE_F32) | KRN_BIT(KRN_TYPE_F16) | KRN_BIT(KRN_TYPE_BF16))
#define KRN_ABF16 KRN_BIT(KRN_TYPE_BF16)

#define KRN_NEEDS_AVX2 (KRN_CPU_AVX2 | KRN_CPU_FMA | KRN_CPU_F16C)
#define KRN_NEEDS_AVX512 (KRN_NEEDS_AVX2 | KRN_CPU_AVX512F | KRN_CPU_AVX512BW | KRN_CPU_AVX512DQ | KRN_CPU_AVX512VL)
#define KRN_NEEDS_VNNI (KRN_NEEDS_AVX512 | KRN_CPU_AVX512VNNI)
#define KRN_NEEDS_BF16 (KRN_NEEDS_VNNI | KRN_CPU_AVX512BF16)

#define KRN_NEEDS_DOTPROD (KRN_CPU_NEON | KRN_CPU_NEON_DOTPROD)
#define KRN_NEEDS_I8MM (KRN_NEEDS_DOTPROD | KRN_CPU_NEON_I8MM)
#define KRN_NEEDS_BFMMLA (KRN_NEEDS_I8MM | KRN_CPU_NEON_BF16)

/* clang-format off */
/*        function prefix      name          features          weights          activations  rows, bytes of x, in steps, expands */
#if defined(KRN_X86_64)
#  define KRN_GEMM_VECTOR_VARIANTS(V)                                                                                  \
    V(krn_w8a16_avx512bf16,    "avx512bf16", KRN_NEEDS_BF16,   KRN_W8,          KRN_ABF16,  12, 12, 12, 2, 1, 0)  \
    V(krn_w4a16_avx512bf16,    "avx512bf16", KRN_NEEDS_BF16,   KRN_W4C,         KRN_ABF16,  12, 12, 12, 2, 1, 0)  \
    V(krn_w8a8_avx512vnni,     "avx512vnni", KRN_NEEDS_VNNI,   KRN_W8,          KRN_A8,     12,  8,  8, 1, 1, 0)  \
    V(krn_w4a8_avx512vnni,     "avx512vnni", KRN_NEEDS_VNNI,   KRN_W4,          KRN_A8,     12,  8,  6, 1, 1, 0)  \
    V(krn_w8a8_avx512,         "avx512",     KRN_NEEDS_AVX512, KRN_W8,          KRN_A8,     12, 12, 12, 2, 1, 0)  \
    V(krn_w4a8_avx512,         "avx512",     KRN_NEEDS_AVX512, KRN_W4,          KRN_A8,     12, 12, 12, 2, 1, 0)  \
    V(krn_w8a16_avx512,        "avx512",     KRN_NEEDS_AVX512, KRN_W8,          KRN_A16,    12, 12, 12, 4, 1, 0)  \
    V(krn_w4a16_avx512,        "avx512",     KRN_NEEDS_AVX512, KRN_W4C,         KRN_A16,    12, 12, 12, 4, 1, 0)  \
    V(krn_w8a8_avx2,           "avx2",       KRN_NEEDS_AVX2,   KRN_W8,          KRN_A8,       6,  6,  6, 2, 1, 0)  \
    V(krn_w4a8_avx2,           "avx2",       KRN_NEEDS_AVX2,   KRN_W4,          KRN_A8,       6,  6,  6, 1, 1, 1)  \
    V(krn_w8a16_avx2,          "avx2",       KRN_NEEDS_AVX2,   KRN_W8,          KRN_A16,      6,  6,  6, 4, 1, 1)  \
    V(krn_w4a16_avx2,          "avx2",       KRN_NEEDS_AVX2,   KRN_W4C,         KRN_A16,      6,  6,  6, 4, 1, 1)
#elif defined(KRN_ARM64)
#  define KRN_GEMM_VECTOR_VARIANTS(V)                                                                                  \
    V(krn_w8a16_neon_bf16,     "neon_bf16",    KRN_NEEDS_BFMMLA,  KRN_W8,       KRN_ABF16,  12, 12, 12, 2, 1, 1)  \
    V(krn_w4a16_neon_bf16,     "neon_bf16",    KRN_NEEDS_BFMMLA,  KRN_W4C,      KRN_ABF16,  12, 12, 12, 2, 1, 1)  \
    V(krn_w8a8_neon_i8mm,      "neon_i8mm",    KRN_NEEDS_I8MM,    KRN_W8,       KRN_A8,     12, 12, 12, 1, 1, 1)  \
    V(krn_w4a8_neon_i8mm,      "neon_i8mm",    KRN_NEEDS_I8MM,    KRN_W4,       KRN_A8,     12, 12, 12, 1, 1, 1)  \
    V(krn_w8a8_neon_dotprod,   "neon_dotprod", KRN_NEEDS_DOTPROD, KRN_W8,       KRN_A8,     12, 12, 12, 1, 1, 0)  \
    V(krn_w4a8_neon_dotprod,   "neon_dotprod", KRN_NEEDS_DOTPROD, KRN_W4,       KRN_A8,     12, 12, 12, 1, 1, 1)  \
    V(krn_w8a8_neon,           "neon",         KRN_CPU_NEON,      KRN_W8,       KRN_A8,      4,  4,  4, 1, 1, 0)  \
    V(krn_w4a8_neon,           "neon",         KRN_CPU_NEON,      KRN_W4,       KRN_A8,      4,  4,  4, 1, 1, 0)  \
    V(krn_w8a16_neon,          "neon",         KRN_CPU_NEON,      KRN_W8,       KRN_A16,    12, 12, 12, 4, 1, 1)  \
    V(krn_w4a16_neon,          "neon",         KRN_CPU_NEON,      KRN_W4C,      KRN_A16,    12, 12, 12, 4, 1, 1)
#else
#  define KRN_GEMM_VECTOR_VARIANTS(V)
#endif

#define KRN_GEMM_VARIANTS(V)                                                                                           \
    KRN_GEMM_VECTOR_VARIANTS(V)                                                                                        \
    V(krn_gemm_ref,            "ref",        0,                KRN_W8 | KRN_W4, KRN_A8,       4,  4,  4, 4, 0, 0)  \
    V(krn_gemm_float_ref,      "ref",        0,                KRN_W8 | KRN_W4C, KRN_A16,     4,  4,  4, 4, 0, 0)

/* clang-format on */

#define KRN_DECLARE(prefix, name, features, formats, activations, rows, group_rows, small_group_rows, bytes, in_steps, \
                    expands)                                                                                           \
    void prefix##_pack_rows(const krn_pack_job *job);                                                                  \
    void prefix##_tile(const krn_tile_job *job);                                                                       \
    void prefix##_store(const krn_store_job *job);
KRN_GEMM_VARIANTS(KRN_DECLARE)
#undef KRN_DECLARE

#endif
