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

/* Words above zeros, within 128-bit quarters. */
KRN_ALWAYS_INLINE void load_unpacked(const uint16_t *x, lanes_f y[2]) {
    const lanes_i words = load_i(x);
    y[0] = as_f32(_mm512_unpacklo_epi16(_mm512_setzero_si512(), words));
    y[1] = as_f32(_mm512_unpackhi_epi16(_mm512_setzero_si512(), words));
}

/* The packs work within 128-bit quarters, too: their result is codes 0..7 32..39 8..15 40..47 ... */
KRN_ALWAYS_INLINE lanes_codes narrow_unpacked(const lanes_i q[4]) {
    const lanes_i bytes = _mm512_packs_epi16(_mm512_packs_epi32(q[0], q[1]), _mm512_packs_epi32(q[2], q[3]));
    return _mm512_permutexvar_epi64(_mm512_setr_epi64(0, 2, 4, 6, 1, 3, 5, 7), bytes);
}

KRN_ALWAYS_INLINE void store_unpacked(float *target, const lanes_f y[2]) {
    const lanes_i low = _mm512_setr_epi32(0, 1, 2, 3, 16, 17, 18, 19, 4, 5, 6, 7, 20, 21, 22, 23);
    store_f(target, lookup_f32x2(y[0], y[1], low));
    store_f(target + LANES, lookup_f32x2(y[0], y[1], add_i32(low, broadcast_i32(8))));
}

#define KRN_UNPACKS
#include "fused/fused_loops.h"
#include "fused/gate_loops.h"
#include "fused/output_loops.h"
#include "fused/residual_loops.h"

const krn_fused_kernels krn_fused_avx512 = {
    .name = "avx512",
    .features = KRN_CPU_AVX2 | KRN_CPU_FMA | KRN_CPU_F16C | KRN_CPU_AVX512F | KRN_CPU_AVX512BW | KRN_CPU_AVX512DQ |
                KRN_CPU_AVX512VL,
    .unpacked_lanes = UNPACKED_LANES,
    .add = add,
    .total = total,
    .squares = squares,
    .normalize = normalize,
    .measure = measure,
    .encode = encode,
    .gate = gate,
    .narrow = narrow_row,
};
