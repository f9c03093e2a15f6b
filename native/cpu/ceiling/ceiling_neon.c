#include "common/simd_neon.h"

typedef neon_i lanes_i;
enum { LANE_BYTES = 16 };

KRN_ALWAYS_INLINE void stream_i(void *p, lanes_i a) { store_i(p, a); }

#include "ceiling/memory_loops.h"
#include "ceiling/register_loop.h"

/* Latency x operations per cycle chains keep the units busy: 4 x 4 for fmla on Neoverse V1 and V2, 4 x 2 on N1; smlal
 * goes to half of those units. */
enum { CHAINS = 16 };

/* The sum is also an operand: a product of two constants would be moved out of the loop. */
KRN_ALWAYS_INLINE lanes_i madd_step(lanes_i sum, lanes_i a, lanes_i b) {
    (void)b;
    return vmlal_s16(sum, vget_low_s16(vreinterpretq_s16_s32(sum)), vget_low_s16(vreinterpretq_s16_s32(a)));
}

static int64_t int16_madd(int64_t turns) {
    run_chains(turns, CHAINS, madd_step);
    return CHAINS * 4 * 2;
}

KRN_ALWAYS_INLINE lanes_i fma_step(lanes_i sum, lanes_i a, lanes_i b) {
    return as_i32(fma_f(as_f32(a), as_f32(b), as_f32(sum)));
}

static int64_t f32_fma(int64_t turns) {
    run_chains(turns, CHAINS, fma_step);
    return CHAINS * 4 * 2;
}

const krn_ceiling_variant_loops krn_ceiling_neon = {
    .name = "neon",
    .isa = KRN_ISA_NEON,
    .int16_madd = int16_madd,
    .f32_fma = f32_fma,
    .read = read_buffer,
    .copy = copy_buffer,
    .narrow = narrow_buffer,
};
