#include "common/simd_neon.h"

typedef neon_i lanes_i;

#include "ceiling/register_loop.h"

/* sdot: latency 3 or 4, up to four per cycle. */
enum { CHAINS = 16 };

KRN_ALWAYS_INLINE lanes_i dot_step(lanes_i sum, lanes_i a, lanes_i b) {
    return vdotq_s32(sum, vreinterpretq_s8_s32(a), vreinterpretq_s8_s32(b));
}

static int64_t int8_dot(int64_t turns) {
    run_chains(turns, CHAINS, dot_step);
    return CHAINS * 16 * 2;
}

const krn_ceiling_variant_loops krn_ceiling_neon_dotprod = {
    .name = "neon_dotprod", .isa = KRN_ISA_NEON_DOTPROD, .int8_dot = int8_dot};
