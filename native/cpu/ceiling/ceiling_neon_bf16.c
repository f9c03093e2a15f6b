#include "common/simd_neon.h"

typedef neon_i lanes_i;

#include "ceiling/register_loop.h"

/* bfmmla multiplies 2x4 by 4x2: twice the products of bfdot. */
enum { CHAINS = 16 };

KRN_ALWAYS_INLINE lanes_i matrix_step(lanes_i sum, lanes_i a, lanes_i b) {
    return as_i32(vbfmmlaq_f32(as_f32(sum), vreinterpretq_bf16_s32(a), vreinterpretq_bf16_s32(b)));
}

static int64_t bf16_dot(int64_t turns) {
    run_chains(turns, CHAINS, matrix_step);
    return CHAINS * 16 * 2;
}

const krn_ceiling_variant_loops krn_ceiling_neon_bf16 = {
    .name = "neon_bf16", .isa = KRN_ISA_NEON_BF16, .bf16_dot = bf16_dot};
