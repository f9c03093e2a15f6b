/* The Hadamard transform with NEON: 8 floats in two registers, 8 such pairs at a time. */
#include "common/lanes_neon.h"
#include "hadamard/hadamard_variants.h"

enum { HELD_LEVELS = 3, HELD = 1 << HELD_LEVELS, MOST_SUMS = 10 };

/* x * 1 + y and x * -1 + y round once, as x + y and y - x do. */
KRN_ALWAYS_INLINE float32x4_t butterfly_four(int level, float32x4_t x) {
    static const float signs[2][4] = {{1, -1, 1, -1}, {1, 1, -1, -1}};
    const float32x4_t other = level == 0 ? vrev64q_f32(x) : vextq_f32(x, x, 2);
    return vfmaq_f32(other, x, vld1q_f32(signs[level]));
}

KRN_ALWAYS_INLINE lanes_f butterfly_lanes(int level, lanes_f x) {
    if (level < 2)
        return (lanes_f){butterfly_four(level, x.low), butterfly_four(level, x.high)};
    return (lanes_f){vaddq_f32(x.low, x.high), vsubq_f32(x.low, x.high)};
}

KRN_ALWAYS_INLINE lanes_f negate_f(lanes_f x) { return (lanes_f){vnegq_f32(x.low), vnegq_f32(x.high)}; }

/* Bit i to the top bit of lane i. */
KRN_ALWAYS_INLINE lanes_f negate_bits(lanes_f x, uint32_t bits) {
    static const int32_t places[8] = {31, 30, 29, 28, 27, 26, 25, 24};
    const lanes_i all = broadcast_i32((int32_t)bits);
    const lanes_i tops = {vshlq_s32(all.low, vld1q_s32(places)), vshlq_s32(all.high, vld1q_s32(places + 4))};
    return as_f32(xor_i(as_i(x), and_i(tops, broadcast_i32(INT32_MIN))));
}

KRN_ALWAYS_INLINE lanes_f negate_lanes(lanes_f x, const uint8_t *signs) { return negate_bits(x, *signs); }

KRN_ALWAYS_INLINE uint16x8_t negate_words(uint16x8_t words, uint8_t bits) {
    static const uint16_t places[8] = {1, 2, 4, 8, 16, 32, 64, 128};
    return veorq_u16(words, vandq_u16(vtstq_u16(vdupq_n_u16(bits), vld1q_u16(places)), vdupq_n_u16(0x8000)));
}

KRN_ALWAYS_INLINE void load_split(const uint16_t *source, const uint8_t *signs, lanes_f x[2]) {
    uint16x8_t low = vld1q_u16(source), high = vld1q_u16(source + 8);
    if (signs != NULL) {
        low = negate_words(low, signs[0]);
        high = negate_words(high, signs[1]);
    }
    const lanes_i words = {vreinterpretq_s32_u16(low), vreinterpretq_s32_u16(high)};
    split_bf16(words, x);
}

KRN_ALWAYS_INLINE void store_split(uint16_t *target, const uint8_t *signs, lanes_i even, lanes_i odd) {
    const lanes_i words = join_bf16(even, odd);
    uint16x8_t low = vreinterpretq_u16_s32(words.low), high = vreinterpretq_u16_s32(words.high);
    if (signs != NULL) {
        low = negate_words(low, signs[0]);
        high = negate_words(high, signs[1]);
    }
    vst1q_u16(target, low);
    vst1q_u16(target + 8, high);
}

KRN_ALWAYS_INLINE lanes_f in_turn(lanes_f x) {
    KRN_IN_ORDER(x.low);
    KRN_IN_ORDER(x.high);
    return x;
}

#include "hadamard/hadamard_loops.h"

const krn_hadamard_kernels krn_hadamard_neon = {
    .name = "neon",
    .features = KRN_CPU_NEON,
    .row = row,
    .run = run,
};
