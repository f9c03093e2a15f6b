/* The fused steps with AVX2, FMA and F16C: 8 elements per step. */
#include "common/lanes_avx2.h"
#include "fused/activation.h"
#include "fused/fused_variants.h"

#include <math.h>
#include <string.h>

/* The low halves of dwords whose high halves are 0. */
KRN_ALWAYS_INLINE __m128i low_words(lanes_i a) {
    return _mm_packus_epi32(_mm256_castsi256_si128(a), _mm256_extracti128_si256(a, 1));
}

KRN_ALWAYS_INLINE void load_pairs(int32_t type, const void *source, int64_t at, lanes_f *first, lanes_f *second) {
    if (type == KRN_TYPE_F32) {
        const lanes_f low = load_f((const float *)source + at), high = load_f((const float *)source + at + LANES);
        /* Within 128-bit halves: pairs 0 1 4 5 2 3 6 7. */
        const __m256d firsts = _mm256_castps_pd(_mm256_shuffle_ps(low, high, _MM_SHUFFLE(2, 0, 2, 0)));
        const __m256d seconds = _mm256_castps_pd(_mm256_shuffle_ps(low, high, _MM_SHUFFLE(3, 1, 3, 1)));
        *first = _mm256_castpd_ps(_mm256_permute4x64_pd(firsts, _MM_SHUFFLE(3, 1, 2, 0)));
        *second = _mm256_castpd_ps(_mm256_permute4x64_pd(seconds, _MM_SHUFFLE(3, 1, 2, 0)));
        return;
    }
    const lanes_i pairs = load_i((const uint16_t *)source + at);
    if (type == KRN_TYPE_F16) {
        *first = _mm256_cvtph_ps(low_words(and_i(pairs, broadcast_i32(0xFFFF))));
        *second = _mm256_cvtph_ps(low_words(shift_right_i32(pairs, 16)));
        return;
    }
    *first = as_f32(shift_left_i32(pairs, 16));
    *second = as_f32(and_i(pairs, broadcast_i32((int32_t)0xFFFF0000)));
}

/* p lies about 1 and n in -124..128: the sum of exponents is a normal number, or what 2^128 and more is taken for. */
KRN_ALWAYS_INLINE lanes_f times_power(int is_near, lanes_f p, lanes_f n, lanes_f rounded) {
    (void)n;
    const lanes_i power = add_i32(as_i(p), shift_left_i32(as_i(rounded), 23));
    return as_f32(is_near ? power : _mm256_min_epi32(power, as_i(broadcast_f32(INFINITY))));
}

enum { GATE_STEPS = 2, GATE_IN_PARTS = 1 };

/* Words above zeros, within 128-bit halves: two unpackings, which any pipe of Zen 5 takes. */
KRN_ALWAYS_INLINE void load_unpacked(const uint16_t *x, lanes_f y[2]) {
    const lanes_i words = load_i(x);
    y[0] = as_f32(_mm256_unpacklo_epi16(_mm256_setzero_si256(), words));
    y[1] = as_f32(_mm256_unpackhi_epi16(_mm256_setzero_si256(), words));
}

/* The packs work within 128-bit halves, too: their result is codes 0..7 16..23 8..15 24..31. */
KRN_ALWAYS_INLINE lanes_codes narrow_unpacked(const lanes_i q[4]) {
    const lanes_i bytes = _mm256_packs_epi16(_mm256_packs_epi32(q[0], q[1]), _mm256_packs_epi32(q[2], q[3]));
    return _mm256_permute4x64_epi64(bytes, _MM_SHUFFLE(3, 1, 2, 0));
}

KRN_ALWAYS_INLINE void store_unpacked(float *target, const lanes_f y[2]) {
    store_f(target, _mm256_permute2f128_ps(y[0], y[1], 0x20));
    store_f(target + LANES, _mm256_permute2f128_ps(y[0], y[1], 0x31));
}

#define KRN_UNPACKS
#include "fused/fused_loops.h"
#include "fused/gate_loops.h"
#include "fused/output_loops.h"
#include "fused/residual_loops.h"

const krn_fused_kernels krn_fused_avx2 = {
    .name = "avx2",
    .features = KRN_CPU_AVX2 | KRN_CPU_FMA | KRN_CPU_F16C,
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
