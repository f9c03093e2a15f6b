#include "ceiling/ceiling_variants.h"

#include <immintrin.h>

/* vdpbf16ps: latency 6, up to two per cycle; with 12 chains Zen 5 reaches 92% of its peak, with 16 all of it. */
enum { CHAINS = 16 };

static int64_t bf16_dot(int64_t turns) {
    const __m512bh a = (__m512bh)_mm512_set1_epi32(krn_ceiling_opaque(KRN_CEILING_OPERAND_A));
    const __m512bh b = (__m512bh)_mm512_set1_epi32(krn_ceiling_opaque(KRN_CEILING_OPERAND_B));
    __m512 sum[CHAINS];
    KRN_UNROLL
    for (int i = 0; i < CHAINS; i++)
        sum[i] = _mm512_set1_ps((float)krn_ceiling_opaque(i));
    for (int64_t turn = 0; turn < turns; turn++) {
        KRN_UNROLL
        for (int i = 0; i < CHAINS; i++)
            sum[i] = _mm512_dpbf16_ps(sum[i], a, b);
    }
    volatile __m512 sink;
    KRN_UNROLL
    for (int i = 0; i < CHAINS; i++)
        sink = sum[i];
    (void)sink;
    return CHAINS * 32 * 2;
}

const krn_ceiling_variant_loops krn_ceiling_avx512bf16 = {
    .name = "avx512bf16", .isa = KRN_ISA_AVX512BF16, .bf16_dot = bf16_dot};
