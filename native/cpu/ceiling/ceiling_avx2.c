#include "common/simd_avx2.h"

typedef ymm_i lanes_i;
enum { LANE_BYTES = 32 };

KRN_ALWAYS_INLINE void stream_i(void *p, lanes_i a) { _mm256_stream_si256((__m256i *)p, a); }

#include "ceiling/memory_loops.h"
#include "ceiling/register_loop.h"

/* A chain's next operation waits for its last: latency x operations per cycle chains keep the units busy. That is 4 x 2
 * for fma on Zen 4/5 and Golden Cove, and up to 6 x 2 for vpmaddwd and vpaddd in one chain; 14 chains, an operand and a
 * product are the 16 registers. On Zen 5 they make 89% of two vpmaddwd per cycle, because sums take slots of the
 * multiplier's ports: every order that fits 16 registers was measured at 92% or less. */
enum { FMA_CHAINS = 12, MADD_CHAINS = 14 };

/* The sum is also an operand: a product of two constants would be moved out of the loop. */
KRN_ALWAYS_INLINE lanes_i madd_step(lanes_i sum, lanes_i a, lanes_i b) {
    (void)b;
    return add_i32(sum, madd_i16(sum, a));
}

static int64_t int16_madd(int64_t turns) {
    run_chains(turns, MADD_CHAINS, madd_step);
    return MADD_CHAINS * 16 * 2;
}

/* Sums of 16 bits, which 4-bit codes allow (gemm/tile_u4s8_avx2.h). */
KRN_ALWAYS_INLINE lanes_i madd_u8s8_step(lanes_i sum, lanes_i a, lanes_i b) {
    (void)b;
    return add_i16(sum, madd_u8s8(sum, a));
}

static int64_t int8_dot(int64_t turns) {
    run_chains(turns, MADD_CHAINS, madd_u8s8_step);
    return MADD_CHAINS * 32 * 2;
}

KRN_ALWAYS_INLINE lanes_i fma_step(lanes_i sum, lanes_i a, lanes_i b) {
    return _mm256_castps_si256(fma_f(as_f32(a), as_f32(b), as_f32(sum)));
}

static int64_t f32_fma(int64_t turns) {
    run_chains(turns, FMA_CHAINS, fma_step);
    return FMA_CHAINS * 8 * 2;
}

const krn_ceiling_variant_loops krn_ceiling_avx2 = {
    .name = "avx2",
    .isa = KRN_ISA_AVX2,
    .int8_dot = int8_dot,
    .int16_madd = int16_madd,
    .f32_fma = f32_fma,
    .read = read_buffer,
    .copy = copy_buffer,
    .narrow = narrow_buffer,
};
