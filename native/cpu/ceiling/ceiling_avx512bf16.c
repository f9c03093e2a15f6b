#include "common/simd_avx512.h"

typedef zmm_i lanes_i;

#include "ceiling/register_loop.h"

/* vdpbf16ps: latency 6, up to two per cycle; with 12 chains Zen 5 reaches 92% of its peak, with 16 all of it. */
enum { CHAINS = 16 };

KRN_ALWAYS_INLINE lanes_i bf16_step(lanes_i sum, lanes_i a, lanes_i b) { return as_i(dot_bf16(as_f32(sum), a, b)); }

static int64_t bf16_dot(int64_t turns) {
    run_chains(turns, CHAINS, bf16_step);
    return CHAINS * 32 * 2;
}

const krn_ceiling_variant_loops krn_ceiling_avx512bf16 = {
    .name = "avx512bf16", .isa = KRN_ISA_AVX512BF16, .bf16_dot = bf16_dot};
