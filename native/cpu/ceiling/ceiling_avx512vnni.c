#include "common/simd_avx512.h"

typedef zmm_i lanes_i;

#include "ceiling/register_loop.h"

/* vpdpbusd: latency 4 or 5, up to two per cycle. */
enum { CHAINS = 16 };

static int64_t int8_dot(int64_t turns) {
    run_chains(turns, CHAINS, dot_u8s8);
    return CHAINS * 64 * 2;
}

const krn_ceiling_variant_loops krn_ceiling_avx512vnni = {
    .name = "avx512vnni", .isa = KRN_ISA_AVX512VNNI, .int8_dot = int8_dot};
