/* The fused steps with AVX-512 F, BW, DQ and VL: 16 elements per step. */
#include "common/lanes_avx512.h"
#include "fused/activation.h"
#include "fused/fused_variants.h"

#include <string.h>

KRN_ALWAYS_INLINE void load_pairs(int32_t type, const void *source, int64_t at, lanes_f *first, lanes_f *second) {
    if (type == KRN_TYPE_F32) {
        const lanes_i even = _mm512_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30);
        const lanes_f low = load_f((const float *)source + at), high = load_f((const float *)source + at + LANES);
        *first = lookup_f32x2(low, high, even);
        *second = lookup_f32x2(low, high, add_i32(even, broadcast_i32(1)));
        return;
    }
    const lanes_i pairs = load_i((const uint16_t *)source + at);
    if (type == KRN_TYPE_F16) {
        *first = widen(type, _mm512_cvtepi32_epi16(pairs));
        *second = widen(type, _mm512_cvtepi32_epi16(shift_right_i32(pairs, 16)));
        return;
    }
    *first = as_f32(shift_left_i32(pairs, 16));
    *second = as_f32(and_i(pairs, broadcast_i32((int32_t)0xFFFF0000)));
}

KRN_ALWAYS_INLINE lanes_f times_power(int is_near, lanes_f p, lanes_f n, lanes_f rounded) {
    (void)is_near;
    (void)rounded;
    return _mm512_scalef_ps(p, n);
}

enum { GATE_STEPS = 4, GATE_IN_PARTS = 0 };

#include "fused/fused_loops.h"
#include "fused/gate_loops.h"
#include "fused/output_loops.h"
#include "fused/residual_loops.h"

const krn_fused_kernels krn_fused_avx512 = {
    .name = "avx512",
    .features = KRN_CPU_AVX2 | KRN_CPU_FMA | KRN_CPU_F16C | KRN_CPU_AVX512F | KRN_CPU_AVX512BW | KRN_CPU_AVX512DQ |
                KRN_CPU_AVX512VL,
    .add = add,
    .total = total,
    .squares = squares,
    .normalize = normalize,
    .measure = measure,
    .encode = encode,
    .gate = gate,
    .narrow = narrow_row,
};
