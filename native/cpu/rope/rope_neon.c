/* RoPE with NEON: 8 pairs per step, in two registers of each half. What a head has left goes through a buffer on the
 * stack. */
#include "common/lanes_neon.h"
#include "rope/rope_variants.h"

#include <string.h>

KRN_ALWAYS_INLINE lanes_f load_some(int32_t type, const void *source, int64_t at, int64_t n) {
    const int64_t size = type == KRN_TYPE_F32 ? 4 : 2;
    unsigned char buffer[LANES * sizeof(float)] = {0};
    memcpy(buffer, (const unsigned char *)source + at * size, (size_t)(n * size));
    return load_lanes(type, buffer, 0);
}

KRN_ALWAYS_INLINE void store_some(int32_t type, void *target, int64_t at, int64_t n, lanes_f value) {
    store_rest(type, target, at, n, value);
}

/* 0 0 1 1 2 2 3 3, and the same of lanes 4 to 7. */
KRN_ALWAYS_INLINE lanes_f pairs_lower(lanes_f a) {
    return (lanes_f){vzip1q_f32(a.low, a.low), vzip2q_f32(a.low, a.low)};
}
KRN_ALWAYS_INLINE lanes_f pairs_upper(lanes_f a) {
    return (lanes_f){vzip1q_f32(a.high, a.high), vzip2q_f32(a.high, a.high)};
}
/* 1 0 3 2 5 4 7 6. */
KRN_ALWAYS_INLINE lanes_f swap_pairs(lanes_f a) { return (lanes_f){vrev64q_f32(a.low), vrev64q_f32(a.high)}; }
/* a - b in even lanes, a + b in odd ones. */
KRN_ALWAYS_INLINE lanes_f subtract_add(lanes_f a, lanes_f b) {
    const lanes_i even = {vreinterpretq_s32_u64(vdupq_n_u64(0x80000000u)),
                          vreinterpretq_s32_u64(vdupq_n_u64(0x80000000u))};
    return add_f(a, as_f32(xor_i(as_i(b), even)));
}

#include "rope/rope_loops.h"

const krn_rope_kernels krn_rope_neon = {
    .name = "neon",
    .features = KRN_CPU_NEON,
    .rotate = rotate,
};
