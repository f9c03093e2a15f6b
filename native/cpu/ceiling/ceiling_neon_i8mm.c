#include "common/simd_neon.h"

typedef neon_i lanes_i;

#include "ceiling/register_loop.h"

/* smmla multiplies 2x8 by 8x2: twice the products of sdot at the same rate. */
enum { CHAINS = 16 };

KRN_ALWAYS_INLINE lanes_i matrix_step(lanes_i sum, lanes_i a, lanes_i b) {
    return vmmlaq_s32(sum, vreinterpretq_s8_s32(a), vreinterpretq_s8_s32(b));
}

static int64_t int8_dot(int64_t turns) {
    run_chains(turns, CHAINS, matrix_step);
    return CHAINS * 32 * 2;
}

const krn_ceiling_variant_loops krn_ceiling_neon_i8mm = {
    .name = "neon_i8mm", .isa = KRN_ISA_NEON_I8MM, .int8_dot = int8_dot};
