#include "ceiling/ceiling_variants.h"

#include <immintrin.h>

/* vpdpbusd: latency 4 or 5, up to two per cycle. */
enum { CHAINS = 16 };

static int64_t int8_dot(int64_t turns) {
    const __m512i a = _mm512_set1_epi32(krn_ceiling_opaque(KRN_CEILING_OPERAND_A));
    const __m512i b = _mm512_set1_epi32(krn_ceiling_opaque(KRN_CEILING_OPERAND_B));
    __m512i sum[CHAINS];
    KRN_UNROLL
    for (int i = 0; i < CHAINS; i++)
        sum[i] = _mm512_set1_epi32(krn_ceiling_opaque(i));
    for (int64_t turn = 0; turn < turns; turn++) {
        KRN_UNROLL
        for (int i = 0; i < CHAINS; i++)
            sum[i] = _mm512_dpbusd_epi32(sum[i], a, b);
    }
    volatile __m512i sink;
    KRN_UNROLL
    for (int i = 0; i < CHAINS; i++)
        sink = sum[i];
    (void)sink;
    return CHAINS * 64 * 2;
}

const krn_ceiling_variant_loops krn_ceiling_avx512vnni = {
    .name = "avx512vnni", .isa = KRN_ISA_AVX512VNNI, .int8_dot = int8_dot};
