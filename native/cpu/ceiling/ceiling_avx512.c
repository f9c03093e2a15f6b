#include "common/simd_avx512.h"

typedef zmm_i lanes_i;
enum { LANE_BYTES = 64 };

KRN_ALWAYS_INLINE void stream_i(void *p, lanes_i a) { _mm512_stream_si512(p, a); }

#include "ceiling/memory_loops.h"
#include "ceiling/register_loop.h"

/* See ceiling_avx2.c. 15 sums, 15 products and an operand are 31 of 32 registers. */
enum { FMA_CHAINS = 16, MADD_CHAINS = 15 };

/* A loop of its own: with all products before the sums Zen 5 reaches 96% of two products per cycle, and 89% when each
 * is followed by its sum. */
static int64_t int16_madd(int64_t turns) {
    const lanes_i weight = broadcast_i32(krn_ceiling_opaque(KRN_CEILING_OPERAND_A));
    lanes_i sum[MAX_CHAINS];
    begin_chains(sum, MADD_CHAINS);
    for (int64_t turn = 0; turn < turns; turn++) {
        lanes_i product[MADD_CHAINS];
        KRN_UNROLL
        for (int i = 0; i < MADD_CHAINS; i++)
            product[i] = _mm512_madd_epi16(sum[i], weight);
        KRN_UNROLL
        for (int i = 0; i < MADD_CHAINS; i++)
            sum[i] = add_i32(sum[i], product[i]);
    }
    end_chains(sum, MADD_CHAINS);
    return MADD_CHAINS * 32 * 2;
}

KRN_ALWAYS_INLINE lanes_i fma_step(lanes_i sum, lanes_i a, lanes_i b) {
    return as_i(fma_f(as_f32(a), as_f32(b), as_f32(sum)));
}

static int64_t f32_fma(int64_t turns) {
    run_chains(turns, FMA_CHAINS, fma_step);
    return FMA_CHAINS * 16 * 2;
}

const krn_ceiling_variant_loops krn_ceiling_avx512 = {
    .name = "avx512",
    .isa = KRN_ISA_AVX512,
    .int16_madd = int16_madd,
    .f32_fma = f32_fma,
    .read = read_buffer,
    .copy = copy_buffer,
    .narrow = narrow_buffer,
};
