/* Quantization with NEON: 4 elements per step. There is no masked access, so the rest of a block goes through a buffer
 * on the stack. */
#include "common/simd_neon.h"
#include "quantize/quantize_variants.h"

#include <string.h>

/* Elements of a step, and codes, one per byte, of a register. */
enum { STEP = 4, PAIRED_CODES = 16 };

typedef neon_f lanes_f;
typedef neon_i lanes_i;

KRN_ALWAYS_INLINE lanes_f load_lanes(int32_t type, const void *source, int64_t at) {
    switch (type) {
    case KRN_TYPE_F32: return load_f((const float *)source + at);
    case KRN_TYPE_F16: return widen_f16((const uint16_t *)source + at);
    default: return widen_bf16((const uint16_t *)source + at);
    }
}

KRN_ALWAYS_INLINE lanes_f load_rest(int32_t type, const void *source, int64_t at, int64_t n) {
    const int64_t size = type == KRN_TYPE_F32 ? 4 : 2;
    unsigned char buffer[STEP * sizeof(float)];
    const unsigned char *from = (const unsigned char *)source + at * size;
    for (int lane = 0; lane < STEP; lane++)
        memcpy(buffer + lane * size, lane < n ? from + lane * size : from, (size_t)size);
    return load_lanes(type, buffer, 0);
}

KRN_ALWAYS_INLINE uint16x4_t narrow_bf16(lanes_f value) {
    const uint32x4_t bits = vreinterpretq_u32_f32(value);
    const uint32x4_t upper = vshrq_n_u32(bits, 16);
    const uint32x4_t odd = vandq_u32(upper, vdupq_n_u32(1));
    const uint32x4_t rounded = vshrq_n_u32(vaddq_u32(bits, vaddq_u32(odd, vdupq_n_u32(0x7FFF))), 16);
    const uint32x4_t quiet = vorrq_u32(upper, vdupq_n_u32(0x40));
    return vmovn_u32(vbslq_u32(vceqq_f32(value, value), rounded, quiet));
}

KRN_ALWAYS_INLINE void store_lanes(int32_t type, void *target, int64_t at, lanes_f value) {
    switch (type) {
    case KRN_TYPE_F32: store_f((float *)target + at, value); break;
    case KRN_TYPE_F16: vst1_u16((uint16_t *)target + at, vreinterpret_u16_f16(vcvt_f16_f32(value))); break;
    default: vst1_u16((uint16_t *)target + at, narrow_bf16(value)); break;
    }
}

KRN_ALWAYS_INLINE void store_rest(int32_t type, void *target, int64_t at, int64_t n, lanes_f value) {
    const int64_t size = type == KRN_TYPE_F32 ? 4 : 2;
    unsigned char buffer[STEP * sizeof(float)];
    store_lanes(type, buffer, 0, value);
    memcpy((unsigned char *)target + at * size, buffer, (size_t)(n * size));
}

KRN_ALWAYS_INLINE lanes_i load_codes(const uint8_t *codes, uint8_t flip) {
    uint32_t four;
    memcpy(&four, codes, sizeof four);
    const uint8x8_t bytes = veor_u8(vreinterpret_u8_u32(vdup_n_u32(four)), vdup_n_u8(flip));
    return vreinterpretq_s32_u32(vmovl_u16(vget_low_u16(vmovl_u8(bytes))));
}

KRN_ALWAYS_INLINE lanes_i load_codes_rest(const uint8_t *codes, int64_t n, uint8_t flip) {
    uint8_t buffer[STEP] = {0};
    memcpy(buffer, codes, (size_t)n);
    return load_codes(buffer, flip);
}

/* One code per byte. */
typedef uint8x16_t lanes_codes;

KRN_ALWAYS_INLINE lanes_codes narrow_codes(const lanes_i q[4]) {
    const uint16x8_t low = vuzp1q_u16(vreinterpretq_u16_s32(q[0]), vreinterpretq_u16_s32(q[1]));
    const uint16x8_t high = vuzp1q_u16(vreinterpretq_u16_s32(q[2]), vreinterpretq_u16_s32(q[3]));
    return vuzp1q_u8(vreinterpretq_u8_u16(low), vreinterpretq_u8_u16(high));
}

/* The low byte of a number in -128..127 is the number. */
KRN_ALWAYS_INLINE lanes_codes narrow_signed(const lanes_i q[4]) { return narrow_codes(q); }

KRN_ALWAYS_INLINE lanes_codes broadcast_code(int32_t code) { return vdupq_n_u8((uint8_t)code); }
KRN_ALWAYS_INLINE lanes_codes add_codes(lanes_codes a, lanes_codes b) { return vaddq_u8(a, b); }
KRN_ALWAYS_INLINE void store_codes(uint8_t *p, lanes_codes a) { vst1q_u8(p, a); }
KRN_ALWAYS_INLINE void stream_codes(uint8_t *p, lanes_codes a) { vst1q_u8(p, a); }

KRN_ALWAYS_INLINE void store_codes_rest(uint8_t *codes, int64_t n, lanes_i q) {
    const lanes_i steps[4] = {q, q, q, q};
    const uint32_t four = vgetq_lane_u32(vreinterpretq_u32_u8(narrow_codes(steps)), 0);
    if (n == STEP)
        memcpy(codes, &four, sizeof four);
    else
        memcpy(codes, &four, (size_t)n);
}

KRN_ALWAYS_INLINE lanes_i magnitude_bits(lanes_f x) { return and_i(as_i32(x), broadcast_i32(0x7FFFFFFF)); }
KRN_ALWAYS_INLINE lanes_i higher_bits(lanes_i a, lanes_i b) { return vmaxq_s32(a, b); }
/* As integers: a maximum of floats would lose which of them is a NaN. */
KRN_ALWAYS_INLINE float highest_bits(lanes_i x) {
    const int32_t bits = vmaxvq_s32(x);
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

KRN_ALWAYS_INLINE lanes_f lower_f(lanes_f a, lanes_f b) { return vminq_f32(a, b); }
KRN_ALWAYS_INLINE lanes_f higher_f(lanes_f a, lanes_f b) { return vmaxq_f32(a, b); }
KRN_ALWAYS_INLINE float lowest_f(lanes_f x) { return vminvq_f32(x); }
KRN_ALWAYS_INLINE float highest_f(lanes_f x) { return vmaxvq_f32(x); }

/* To the nearest integer, of two the even one. */
KRN_ALWAYS_INLINE lanes_i round_i32(lanes_f a) { return vcvtnq_s32_f32(a); }
/* 16-bit lanes shifted by a nibble. */
KRN_ALWAYS_INLINE lanes_i nibble_down_i16(lanes_i a) {
    return vreinterpretq_s32_u16(vshrq_n_u16(vreinterpretq_u16_s32(a), 4));
}
KRN_ALWAYS_INLINE lanes_i nibble_up_i16(lanes_i a) {
    return vreinterpretq_s32_u16(vshlq_n_u16(vreinterpretq_u16_s32(a), 4));
}
KRN_ALWAYS_INLINE lanes_i widen_u8_i16(const uint8_t *p) { return vreinterpretq_s32_u16(vmovl_u8(vld1_u8(p))); }
/* The low bytes of 16-bit lanes. */
KRN_ALWAYS_INLINE void store_low_bytes_i16(uint8_t *p, lanes_i a) { vst1_u8(p, vmovn_u16(vreinterpretq_u16_s32(a))); }

/* 16 floats are the 64 bytes of one table lookup. */
typedef uint8x16x4_t lanes_table;

KRN_ALWAYS_INLINE lanes_table load_table(const float *entries) { return vld1q_u8_x4((const uint8_t *)entries); }
/* Bytes 4 * index, + 1, + 2 and + 3. */
KRN_ALWAYS_INLINE lanes_f entries_at(lanes_table table, lanes_i index) {
    const uint32x4_t first = vmulq_n_u32(vreinterpretq_u32_s32(index), 0x04040404u);
    const uint32x4_t bytes = vaddq_u32(first, vdupq_n_u32(0x03020100u));
    return vreinterpretq_f32_u8(vqtbl4q_u8(table, vreinterpretq_u8_u32(bytes)));
}
KRN_ALWAYS_INLINE lanes_i add_where_greater(lanes_i sum, lanes_i addend, lanes_f a, lanes_f b) {
    return add_i32(sum, and_i(addend, vreinterpretq_s32_u32(vcgtq_f32(a, b))));
}

#include "quantize/quantize_loops.h"

const krn_quantize_kernels krn_quantize_neon = {
    .name = "neon",
    .features = KRN_CPU_NEON,
    .magnitudes = magnitudes,
    .extents = extents,
    .encode = encode,
    .decode = decode,
    .encode_nearest = encode_nearest,
    .decode_entries = decode_entries,
    .pack_nibbles = pack_nibbles,
    .unpack_nibbles = unpack_nibbles,
};
