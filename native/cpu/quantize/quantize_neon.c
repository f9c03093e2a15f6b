/* Quantization with NEON: 8 elements per step, in two registers. There is no masked access, so the rest of a block goes
 * through a buffer on the stack. */
#include "common/lanes_neon.h"
#include "quantize/quantize_variants.h"

#include <string.h>

/* Elements of a step, and codes, one per byte, of two registers. */
enum { STEP = LANES, PAIRED_CODES = 32 };

KRN_ALWAYS_INLINE lanes_i load_codes(const uint8_t *codes, uint8_t flip) {
    const uint16x8_t words = vmovl_u8(veor_u8(vld1_u8(codes), vdup_n_u8(flip)));
    return (lanes_i){vreinterpretq_s32_u32(vmovl_u16(vget_low_u16(words))),
                     vreinterpretq_s32_u32(vmovl_u16(vget_high_u16(words)))};
}

KRN_ALWAYS_INLINE lanes_i load_codes_rest(const uint8_t *codes, int64_t n, uint8_t flip) {
    uint8_t buffer[STEP] = {0};
    memcpy(buffer, codes, (size_t)n);
    return load_codes(buffer, flip);
}

KRN_ALWAYS_INLINE lanes_codes narrow_codes(const lanes_i q[4]) { return low_bytes(q); }

KRN_ALWAYS_INLINE void store_codes_rest(uint8_t *codes, int64_t n, lanes_i q) {
    const lanes_i step[4] = {q, q, q, q};
    const int64_t eight = vgetq_lane_s64(vreinterpretq_s64_s32(narrow_codes(step).low), 0);
    if (n == STEP)
        memcpy(codes, &eight, sizeof eight);
    else
        memcpy(codes, &eight, (size_t)n);
}

KRN_ALWAYS_INLINE float lowest_f(lanes_f x) { return vminvq_f32(vminq_f32(x.low, x.high)); }
KRN_ALWAYS_INLINE float highest_f(lanes_f x) { return vmaxvq_f32(vmaxq_f32(x.low, x.high)); }

/* 16-bit lanes shifted by a nibble. */
KRN_ALWAYS_INLINE lanes_i nibble_down_i16(lanes_i a) {
    return (lanes_i){vreinterpretq_s32_u16(vshrq_n_u16(vreinterpretq_u16_s32(a.low), 4)),
                     vreinterpretq_s32_u16(vshrq_n_u16(vreinterpretq_u16_s32(a.high), 4))};
}
KRN_ALWAYS_INLINE lanes_i nibble_up_i16(lanes_i a) {
    return (lanes_i){vreinterpretq_s32_u16(vshlq_n_u16(vreinterpretq_u16_s32(a.low), 4)),
                     vreinterpretq_s32_u16(vshlq_n_u16(vreinterpretq_u16_s32(a.high), 4))};
}
KRN_ALWAYS_INLINE lanes_i widen_u8_i16(const uint8_t *p) {
    const uint8x16_t bytes = vld1q_u8(p);
    return (lanes_i){vreinterpretq_s32_u16(vmovl_u8(vget_low_u8(bytes))),
                     vreinterpretq_s32_u16(vmovl_u8(vget_high_u8(bytes)))};
}
/* The low bytes of 16-bit lanes. */
KRN_ALWAYS_INLINE void store_low_bytes_i16(uint8_t *p, lanes_i a) {
    vst1q_u8(p, vuzp1q_u8(vreinterpretq_u8_s32(a.low), vreinterpretq_u8_s32(a.high)));
}

/* 16 floats are the 64 bytes of one table lookup. */
typedef uint8x16x4_t lanes_table;

KRN_ALWAYS_INLINE lanes_table load_table(const float *entries) { return vld1q_u8_x4((const uint8_t *)entries); }
/* Bytes 4 * index, + 1, + 2 and + 3. */
KRN_ALWAYS_INLINE float32x4_t four_entries_at(lanes_table table, int32x4_t index) {
    const uint32x4_t first = vmulq_n_u32(vreinterpretq_u32_s32(index), 0x04040404u);
    const uint32x4_t bytes = vaddq_u32(first, vdupq_n_u32(0x03020100u));
    return vreinterpretq_f32_u8(vqtbl4q_u8(table, vreinterpretq_u8_u32(bytes)));
}
KRN_ALWAYS_INLINE lanes_f entries_at(lanes_table table, lanes_i index) {
    return (lanes_f){four_entries_at(table, index.low), four_entries_at(table, index.high)};
}
KRN_ALWAYS_INLINE lanes_i add_where_greater(lanes_i sum, lanes_i addend, lanes_f a, lanes_f b) {
    const lanes_i greater = {vreinterpretq_s32_u32(vcgtq_f32(a.low, b.low)),
                             vreinterpretq_s32_u32(vcgtq_f32(a.high, b.high))};
    return add_i32(sum, and_i(addend, greater));
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
