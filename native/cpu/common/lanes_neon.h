/* Elements of f32, f16 and bf16 in the lanes of two NEON registers: 8 lanes, as many as AVX2 has, so that code written
 * for a byte of signs or a row of 8 sums fits. The verbs of common/simd_*.h and common/lanes_*.h, on pairs. Bits as in
 * half.h. `type` is a constant wherever these functions are called. */
#ifndef KRN_LANES_NEON_H
#define KRN_LANES_NEON_H

#include "common/portability.h"
#include "kernels/common.h"

#include <arm_neon.h>
#include <string.h>

typedef struct {
    float32x4_t low, high;
} lanes_f;

typedef struct {
    int32x4_t low, high;
} lanes_i;

enum { LANES = 8, LANE_LEVELS = 3 };

KRN_ALWAYS_INLINE lanes_f load_f(const void *p) {
    const float *from = (const float *)p;
    return (lanes_f){vld1q_f32(from), vld1q_f32(from + 4)};
}
KRN_ALWAYS_INLINE void store_f(void *p, lanes_f a) {
    float *to = (float *)p;
    vst1q_f32(to, a.low);
    vst1q_f32(to + 4, a.high);
}
KRN_ALWAYS_INLINE lanes_i load_i(const void *p) {
    const uint8_t *from = (const uint8_t *)p;
    return (lanes_i){vreinterpretq_s32_u8(vld1q_u8(from)), vreinterpretq_s32_u8(vld1q_u8(from + 16))};
}
KRN_ALWAYS_INLINE void store_i(void *p, lanes_i a) {
    uint8_t *to = (uint8_t *)p;
    vst1q_u8(to, vreinterpretq_u8_s32(a.low));
    vst1q_u8(to + 16, vreinterpretq_u8_s32(a.high));
}
/* NEON's intrinsics have no store past the caches. */
KRN_ALWAYS_INLINE void stream_f(void *p, lanes_f a) { store_f(p, a); }

KRN_ALWAYS_INLINE lanes_f broadcast_f32(float a) { return (lanes_f){vdupq_n_f32(a), vdupq_n_f32(a)}; }
KRN_ALWAYS_INLINE lanes_i broadcast_i32(int32_t a) { return (lanes_i){vdupq_n_s32(a), vdupq_n_s32(a)}; }
KRN_ALWAYS_INLINE lanes_f zero_f(void) { return broadcast_f32(0); }
KRN_ALWAYS_INLINE lanes_f as_f32(lanes_i a) {
    return (lanes_f){vreinterpretq_f32_s32(a.low), vreinterpretq_f32_s32(a.high)};
}
KRN_ALWAYS_INLINE lanes_i as_i(lanes_f a) {
    return (lanes_i){vreinterpretq_s32_f32(a.low), vreinterpretq_s32_f32(a.high)};
}

KRN_ALWAYS_INLINE lanes_f add_f(lanes_f a, lanes_f b) {
    return (lanes_f){vaddq_f32(a.low, b.low), vaddq_f32(a.high, b.high)};
}
KRN_ALWAYS_INLINE lanes_f sub_f(lanes_f a, lanes_f b) {
    return (lanes_f){vsubq_f32(a.low, b.low), vsubq_f32(a.high, b.high)};
}
KRN_ALWAYS_INLINE lanes_f mul_f(lanes_f a, lanes_f b) {
    return (lanes_f){vmulq_f32(a.low, b.low), vmulq_f32(a.high, b.high)};
}
KRN_ALWAYS_INLINE lanes_f div_f(lanes_f a, lanes_f b) {
    return (lanes_f){vdivq_f32(a.low, b.low), vdivq_f32(a.high, b.high)};
}
/* a * b + c, rounded once. */
KRN_ALWAYS_INLINE lanes_f fma_f(lanes_f a, lanes_f b, lanes_f c) {
    return (lanes_f){vfmaq_f32(c.low, a.low, b.low), vfmaq_f32(c.high, a.high, b.high)};
}
/* a where the bits of `choice` are set, else b. */
KRN_ALWAYS_INLINE lanes_f choose_f(uint32x4_t low, uint32x4_t high, lanes_f a, lanes_f b) {
    return (lanes_f){vbslq_f32(low, a.low, b.low), vbslq_f32(high, a.high, b.high)};
}
/* b where a or b is NaN, as on x86. */
KRN_ALWAYS_INLINE lanes_f lower_f(lanes_f a, lanes_f b) {
    return choose_f(vcltq_f32(a.low, b.low), vcltq_f32(a.high, b.high), a, b);
}
KRN_ALWAYS_INLINE lanes_f higher_f(lanes_f a, lanes_f b) {
    return choose_f(vcgtq_f32(a.low, b.low), vcgtq_f32(a.high, b.high), a, b);
}

KRN_ALWAYS_INLINE lanes_i and_i(lanes_i a, lanes_i b) {
    return (lanes_i){vandq_s32(a.low, b.low), vandq_s32(a.high, b.high)};
}
KRN_ALWAYS_INLINE lanes_i or_i(lanes_i a, lanes_i b) {
    return (lanes_i){vorrq_s32(a.low, b.low), vorrq_s32(a.high, b.high)};
}
KRN_ALWAYS_INLINE lanes_i xor_i(lanes_i a, lanes_i b) {
    return (lanes_i){veorq_s32(a.low, b.low), veorq_s32(a.high, b.high)};
}
KRN_ALWAYS_INLINE lanes_i add_i32(lanes_i a, lanes_i b) {
    return (lanes_i){vaddq_s32(a.low, b.low), vaddq_s32(a.high, b.high)};
}
KRN_ALWAYS_INLINE lanes_i sub_i32(lanes_i a, lanes_i b) {
    return (lanes_i){vsubq_s32(a.low, b.low), vsubq_s32(a.high, b.high)};
}
KRN_ALWAYS_INLINE lanes_i shift_left_i32(lanes_i a, int bits) {
    return (lanes_i){vshlq_s32(a.low, vdupq_n_s32(bits)), vshlq_s32(a.high, vdupq_n_s32(bits))};
}
KRN_ALWAYS_INLINE lanes_f to_f32(lanes_i a) { return (lanes_f){vcvtq_f32_s32(a.low), vcvtq_f32_s32(a.high)}; }
/* To the nearest integer, of two the even one. */
KRN_ALWAYS_INLINE lanes_i round_i32(lanes_f a) { return (lanes_i){vcvtnq_s32_f32(a.low), vcvtnq_s32_f32(a.high)}; }

/* Magnitudes as integers: in order, infinity and NaN above all finite numbers. */
KRN_ALWAYS_INLINE lanes_i magnitude_bits(lanes_f x) { return and_i(as_i(x), broadcast_i32(0x7FFFFFFF)); }
KRN_ALWAYS_INLINE lanes_i higher_bits(lanes_i a, lanes_i b) {
    return (lanes_i){vmaxq_s32(a.low, b.low), vmaxq_s32(a.high, b.high)};
}
KRN_ALWAYS_INLINE float highest_bits(lanes_i x) {
    const int32_t bits = vmaxvq_s32(vmaxq_s32(x.low, x.high));
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

KRN_ALWAYS_INLINE lanes_f widen(int32_t type, uint16x8_t halves) {
    const uint16x4_t low = vget_low_u16(halves), high = vget_high_u16(halves);
    if (type == KRN_TYPE_F16)
        return (lanes_f){vcvt_f32_f16(vreinterpret_f16_u16(low)), vcvt_f32_f16(vreinterpret_f16_u16(high))};
    return (lanes_f){vreinterpretq_f32_u32(vshll_n_u16(low, 16)), vreinterpretq_f32_u32(vshll_n_u16(high, 16))};
}

KRN_ALWAYS_INLINE lanes_f load_lanes(int32_t type, const void *source, int64_t at) {
    if (type == KRN_TYPE_F32)
        return load_f((const float *)source + at);
    return widen(type, vld1q_u16((const uint16_t *)source + at));
}

/* Two registers of them. */
KRN_ALWAYS_INLINE void load_two(int32_t type, const void *source, int64_t at, lanes_f x[2]) {
    x[0] = load_lanes(type, source, at);
    x[1] = load_lanes(type, source, at + LANES);
}

KRN_ALWAYS_INLINE lanes_f load_rest(int32_t type, const void *source, int64_t at, int64_t n) {
    const int64_t size = type == KRN_TYPE_F32 ? 4 : 2;
    unsigned char buffer[LANES * sizeof(float)];
    const unsigned char *from = (const unsigned char *)source + at * size;
    for (int lane = 0; lane < LANES; lane++)
        memcpy(buffer + lane * size, lane < n ? from + lane * size : from, (size_t)size);
    return load_lanes(type, buffer, 0);
}

KRN_ALWAYS_INLINE uint16x4_t narrow_four(int32_t type, float32x4_t value) {
    if (type == KRN_TYPE_F16)
        return vreinterpret_u16_f16(vcvt_f16_f32(value));
    const uint32x4_t bits = vreinterpretq_u32_f32(value);
    const uint32x4_t upper = vshrq_n_u32(bits, 16);
    const uint32x4_t odd = vandq_u32(upper, vdupq_n_u32(1));
    const uint32x4_t rounded = vshrq_n_u32(vaddq_u32(bits, vaddq_u32(odd, vdupq_n_u32(0x7FFF))), 16);
    const uint32x4_t quiet = vorrq_u32(upper, vdupq_n_u32(0x40));
    return vmovn_u32(vbslq_u32(vceqq_f32(value, value), rounded, quiet));
}

KRN_ALWAYS_INLINE void store_lanes(int32_t type, void *target, int64_t at, lanes_f value) {
    if (type == KRN_TYPE_F32)
        store_f((float *)target + at, value);
    else
        vst1q_u16((uint16_t *)target + at, vcombine_u16(narrow_four(type, value.low), narrow_four(type, value.high)));
}

KRN_ALWAYS_INLINE void store_rest(int32_t type, void *target, int64_t at, int64_t n, lanes_f value) {
    const int64_t size = type == KRN_TYPE_F32 ? 4 : 2;
    unsigned char buffer[LANES * sizeof(float)];
    store_lanes(type, buffer, 0, value);
    memcpy((unsigned char *)target + at * size, buffer, (size_t)(n * size));
}

/* The low bytes of the lanes of 4 pairs of registers: what is above them is dropped. */
KRN_ALWAYS_INLINE lanes_i low_bytes(const lanes_i q[4]) {
    uint8x16_t bytes[2];
    for (int i = 0; i < 2; i++) {
        const lanes_i a = q[2 * i], b = q[2 * i + 1];
        const int16x8_t first = vuzp1q_s16(vreinterpretq_s16_s32(a.low), vreinterpretq_s16_s32(a.high));
        const int16x8_t second = vuzp1q_s16(vreinterpretq_s16_s32(b.low), vreinterpretq_s16_s32(b.high));
        bytes[i] = vuzp1q_u8(vreinterpretq_u8_s16(first), vreinterpretq_u8_s16(second));
    }
    return (lanes_i){vreinterpretq_s32_u8(bytes[0]), vreinterpretq_s32_u8(bytes[1])};
}

/* Codes, one per byte. */
typedef lanes_i lanes_codes;

KRN_ALWAYS_INLINE lanes_codes broadcast_code(int32_t code) {
    const int32x4_t codes = vreinterpretq_s32_s8(vdupq_n_s8((int8_t)code));
    return (lanes_codes){codes, codes};
}
KRN_ALWAYS_INLINE lanes_codes add_codes(lanes_codes a, lanes_codes b) {
    return (lanes_codes){vreinterpretq_s32_s8(vaddq_s8(vreinterpretq_s8_s32(a.low), vreinterpretq_s8_s32(b.low))),
                         vreinterpretq_s32_s8(vaddq_s8(vreinterpretq_s8_s32(a.high), vreinterpretq_s8_s32(b.high)))};
}
KRN_ALWAYS_INLINE void store_codes(uint8_t *p, lanes_codes a) { store_i(p, a); }
KRN_ALWAYS_INLINE void stream_codes(uint8_t *p, lanes_codes a) { store_i(p, a); }

/* 4 pairs of registers of numbers in -128..127 to codes. */
KRN_ALWAYS_INLINE lanes_codes narrow_signed(const lanes_i q[4]) { return low_bytes(q); }

KRN_ALWAYS_INLINE int32x4_t halves_down(int32x4_t x) {
    return vreinterpretq_s32_u32(vshrq_n_u32(vreinterpretq_u32_s32(x), 16));
}

KRN_ALWAYS_INLINE lanes_i lower_half(lanes_i x) { return (lanes_i){halves_down(x.low), halves_down(x.high)}; }

/* bf16 in split registers: the even and the odd ones of 2 LANES in the upper halves of the lanes of two. First f32, which
 * is not NaN unless its lower half is 0, with the bits of the nearest bf16 in the upper half and any in the lower one:
 * half of the last place is added, less one where the last place is even. */
KRN_ALWAYS_INLINE lanes_i round_bf16(lanes_f x) {
    const lanes_i odd = and_i(lower_half(as_i(x)), broadcast_i32(1));
    return add_i32(as_i(x), add_i32(odd, broadcast_i32(0x7FFF)));
}

/* Even ones in the lower halves and odd ones in the upper halves, among other bits, of lanes. */
KRN_ALWAYS_INLINE lanes_i join_bf16(lanes_i even, lanes_i odd) {
    return or_i(even, and_i(odd, broadcast_i32((int32_t)0xFFFF0000)));
}

/* Widened. */
KRN_ALWAYS_INLINE void split_bf16(lanes_i words, lanes_f x[2]) {
    x[0] = as_f32(shift_left_i32(words, 16));
    x[1] = as_f32(and_i(words, broadcast_i32((int32_t)0xFFFF0000)));
}

#endif
