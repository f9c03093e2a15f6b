/* The fused steps with NEON: 8 elements per step, in two registers. */
#include "common/lanes_neon.h"
#include "fused/activation.h"
#include "fused/fused_variants.h"

#include <string.h>

KRN_ALWAYS_INLINE void load_pairs(int32_t type, const void *source, int64_t at, lanes_f *first, lanes_f *second) {
    if (type == KRN_TYPE_F32) {
        const float32x4x2_t low = vld2q_f32((const float *)source + at),
                            high = vld2q_f32((const float *)source + at + LANES);
        *first = (lanes_f){low.val[0], high.val[0]};
        *second = (lanes_f){low.val[1], high.val[1]};
        return;
    }
    const uint16x8x2_t pairs = vld2q_u16((const uint16_t *)source + at);
    *first = widen(type, pairs.val[0]);
    *second = widen(type, pairs.val[1]);
}

KRN_ALWAYS_INLINE lanes_f times_power(int is_near, lanes_f p, lanes_f n, lanes_f rounded) {
    (void)is_near;
    (void)n;
    const lanes_i power = add_i32(shift_left_i32(as_i(rounded), 23), as_i(broadcast_f32(0.5f)));
    return mul_f(add_f(p, p), as_f32(power));
}

enum { GATE_STEPS = 4, GATE_IN_PARTS = 0 };

#include "fused/fused_loops.h"
#include "fused/gate_loops.h"
#include "fused/output_loops.h"
#include "fused/residual_loops.h"

const krn_fused_kernels krn_fused_neon = {
    .name = "neon",
    .features = KRN_CPU_NEON,
    .add = add,
    .total = total,
    .squares = squares,
    .normalize = normalize,
    .measure = measure,
    .encode = encode,
    .gate = gate,
    .narrow = narrow_row,
};
