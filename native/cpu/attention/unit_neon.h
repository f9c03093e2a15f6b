/* Sixteen lanes, one unit of tokens or 16 channels, as four NEON registers. unit_avx512.h has the same verbs. */
#ifndef KRN_ATTENTION_UNIT_NEON_H
#define KRN_ATTENTION_UNIT_NEON_H

#include "common/simd_neon.h"

enum { PARTS = 4 };

typedef struct {
    neon_f v[PARTS];
} lanes_f;
typedef struct {
    neon_i v[PARTS];
} lanes_i;

enum {
    /* 4 rows of four registers leave 16 for operands. */
    TILE_ROWS = 4,
    TILE_VECTORS = 1,
    /* Lines that a step asks for ahead: as many as it reads. */
    TILE_AHEAD = 1,
};

KRN_ALWAYS_INLINE void lanes_keep_f(lanes_f *x) {
    KRN_UNROLL
    for (int i = 0; i < PARTS; i++)
        KRN_KEEP(x->v[i]);
}
KRN_ALWAYS_INLINE void lanes_keep_i(lanes_i *x) {
    KRN_UNROLL
    for (int i = 0; i < PARTS; i++)
        KRN_KEEP(x->v[i]);
}
KRN_ALWAYS_INLINE lanes_f lanes_load(const void *p) {
    lanes_f y;
    KRN_UNROLL
    for (int i = 0; i < PARTS; i++)
        y.v[i] = load_f((const float *)p + 4 * i);
    return y;
}
KRN_ALWAYS_INLINE void lanes_store(void *p, lanes_f x) {
    KRN_UNROLL
    for (int i = 0; i < PARTS; i++)
        store_f((float *)p + 4 * i, x.v[i]);
}
KRN_ALWAYS_INLINE lanes_f lanes_all(float x) {
    lanes_f y;
    KRN_UNROLL
    for (int i = 0; i < PARTS; i++)
        y.v[i] = broadcast_f32(x);
    return y;
}
KRN_ALWAYS_INLINE lanes_f lanes_add(lanes_f x, lanes_f z) {
    lanes_f y;
    KRN_UNROLL
    for (int i = 0; i < PARTS; i++)
        y.v[i] = add_f(x.v[i], z.v[i]);
    return y;
}
KRN_ALWAYS_INLINE lanes_f lanes_sub(lanes_f x, lanes_f z) {
    lanes_f y;
    KRN_UNROLL
    for (int i = 0; i < PARTS; i++)
        y.v[i] = sub_f(x.v[i], z.v[i]);
    return y;
}
KRN_ALWAYS_INLINE lanes_f lanes_mul(lanes_f x, lanes_f z) {
    lanes_f y;
    KRN_UNROLL
    for (int i = 0; i < PARTS; i++)
        y.v[i] = mul_f(x.v[i], z.v[i]);
    return y;
}
KRN_ALWAYS_INLINE lanes_f lanes_div(lanes_f x, lanes_f z) {
    lanes_f y;
    KRN_UNROLL
    for (int i = 0; i < PARTS; i++)
        y.v[i] = vdivq_f32(x.v[i], z.v[i]);
    return y;
}
KRN_ALWAYS_INLINE lanes_f lanes_fma(lanes_f a, lanes_f b, lanes_f c) {
    lanes_f y;
    KRN_UNROLL
    for (int i = 0; i < PARTS; i++)
        y.v[i] = fma_f(a.v[i], b.v[i], c.v[i]);
    return y;
}
/* z where either is NaN, as on x86. */
KRN_ALWAYS_INLINE lanes_f lanes_higher(lanes_f x, lanes_f z) {
    lanes_f y;
    KRN_UNROLL
    for (int i = 0; i < PARTS; i++)
        y.v[i] = vbslq_f32(vcgtq_f32(x.v[i], z.v[i]), x.v[i], z.v[i]);
    return y;
}
KRN_ALWAYS_INLINE lanes_f lanes_lower(lanes_f x, lanes_f z) {
    lanes_f y;
    KRN_UNROLL
    for (int i = 0; i < PARTS; i++)
        y.v[i] = vbslq_f32(vcltq_f32(x.v[i], z.v[i]), x.v[i], z.v[i]);
    return y;
}
KRN_ALWAYS_INLINE float lanes_highest(lanes_f x) {
    return vmaxvq_f32(vmaxq_f32(vmaxq_f32(x.v[0], x.v[1]), vmaxq_f32(x.v[2], x.v[3])));
}
KRN_ALWAYS_INLINE lanes_f lanes_abs(lanes_f x) {
    lanes_f y;
    KRN_UNROLL
    for (int i = 0; i < PARTS; i++)
        y.v[i] = vabsq_f32(x.v[i]);
    return y;
}
/* The magnitude of x with the sign of z. */
KRN_ALWAYS_INLINE lanes_f lanes_with_sign(lanes_f x, lanes_f z) {
    lanes_f y;
    KRN_UNROLL
    for (int i = 0; i < PARTS; i++)
        y.v[i] = vbslq_f32(vdupq_n_u32(0x80000000u), z.v[i], x.v[i]);
    return y;
}
KRN_ALWAYS_INLINE neon_f scale_from(neon_f p, neon_f n, neon_f x, float least) {
    const neon_i power = add_i32(vshlq_n_s32(vcvtnq_s32_f32(n), 23), broadcast_i32(0x3F800000));
    const uint32x4_t is_kept = vcgeq_f32(x, broadcast_f32(least));
    return vreinterpretq_f32_u32(vandq_u32(is_kept, vreinterpretq_u32_f32(mul_f(p, as_f32(power)))));
}
/* p * 2^n, n a whole number in -126..127, where x >= least, else 0. */
KRN_ALWAYS_INLINE lanes_f lanes_scale_from(lanes_f p, lanes_f n, lanes_f x, float least) {
    lanes_f y;
    KRN_UNROLL
    for (int i = 0; i < PARTS; i++)
        y.v[i] = scale_from(p.v[i], n.v[i], x.v[i], least);
    return y;
}
KRN_ALWAYS_INLINE neon_i indices_from(int32_t first) {
    static const int32_t steps[4] = {0, 1, 2, 3};
    return add_i32(vld1q_s32(steps), broadcast_i32(first));
}
KRN_ALWAYS_INLINE neon_f select_range(neon_f x, neon_f other, neon_i index, int32_t first, int32_t last) {
    const uint32x4_t inside = vandq_u32(vcgeq_s32(index, broadcast_i32(first)), vcleq_s32(index, broadcast_i32(last)));
    return vbslq_f32(inside, x, other);
}
/* x in lanes first..last, `other` elsewhere. */
KRN_ALWAYS_INLINE lanes_f lanes_select_range(lanes_f x, lanes_f other, int32_t first, int32_t last) {
    lanes_f y;
    KRN_UNROLL
    for (int i = 0; i < PARTS; i++)
        y.v[i] = select_range(x.v[i], other.v[i], indices_from(4 * i), first, last);
    return y;
}
/* 0, 1, 2 ... 15. */
KRN_ALWAYS_INLINE lanes_f lanes_indices(void) {
    lanes_f y;
    KRN_UNROLL
    for (int i = 0; i < PARTS; i++)
        y.v[i] = to_f32(indices_from(4 * i));
    return y;
}

KRN_ALWAYS_INLINE lanes_i lanes_load_i(const void *p) {
    lanes_i y;
    KRN_UNROLL
    for (int i = 0; i < PARTS; i++)
        y.v[i] = load_i((const uint8_t *)p + 16 * i);
    return y;
}
KRN_ALWAYS_INLINE lanes_i lanes_all_i(int32_t x) {
    lanes_i y;
    KRN_UNROLL
    for (int i = 0; i < PARTS; i++)
        y.v[i] = broadcast_i32(x);
    return y;
}
KRN_ALWAYS_INLINE lanes_i lanes_and(lanes_i x, lanes_i z) {
    lanes_i y;
    KRN_UNROLL
    for (int i = 0; i < PARTS; i++)
        y.v[i] = and_i(x.v[i], z.v[i]);
    return y;
}
KRN_ALWAYS_INLINE lanes_i lanes_or(lanes_i x, lanes_i z) {
    lanes_i y;
    KRN_UNROLL
    for (int i = 0; i < PARTS; i++)
        y.v[i] = or_i(x.v[i], z.v[i]);
    return y;
}
KRN_ALWAYS_INLINE lanes_i lanes_add_i(lanes_i x, lanes_i z) {
    lanes_i y;
    KRN_UNROLL
    for (int i = 0; i < PARTS; i++)
        y.v[i] = add_i32(x.v[i], z.v[i]);
    return y;
}
KRN_ALWAYS_INLINE lanes_i lanes_sub_i(lanes_i x, lanes_i z) {
    lanes_i y;
    KRN_UNROLL
    for (int i = 0; i < PARTS; i++)
        y.v[i] = sub_i32(x.v[i], z.v[i]);
    return y;
}
KRN_ALWAYS_INLINE lanes_i lanes_mul_i(lanes_i x, lanes_i z) {
    lanes_i y;
    KRN_UNROLL
    for (int i = 0; i < PARTS; i++)
        y.v[i] = mul_i32(x.v[i], z.v[i]);
    return y;
}
KRN_ALWAYS_INLINE lanes_i lanes_right(lanes_i x, unsigned bits) {
    lanes_i y;
    KRN_UNROLL
    for (int i = 0; i < PARTS; i++)
        y.v[i] = vreinterpretq_s32_u32(vshlq_u32(vreinterpretq_u32_s32(x.v[i]), broadcast_i32(-(int32_t)bits)));
    return y;
}
KRN_ALWAYS_INLINE lanes_i lanes_left(lanes_i x, int bits) {
    lanes_i y;
    KRN_UNROLL
    for (int i = 0; i < PARTS; i++)
        y.v[i] = vshlq_s32(x.v[i], broadcast_i32(bits));
    return y;
}
KRN_ALWAYS_INLINE neon_i widen_four(uint16x4_t words) { return vreinterpretq_s32_u32(vmovl_u16(words)); }
KRN_ALWAYS_INLINE lanes_i lanes_widen_u8(const uint8_t *p) {
    const uint16x8_t first = vmovl_u8(vld1_u8(p)), second = vmovl_u8(vld1_u8(p + 8));
    return (lanes_i){{widen_four(vget_low_u16(first)), widen_four(vget_high_u16(first)),
                      widen_four(vget_low_u16(second)), widen_four(vget_high_u16(second))}};
}
KRN_ALWAYS_INLINE int32_t lanes_total(lanes_i x) {
    return vaddvq_s32(add_i32(add_i32(x.v[0], x.v[1]), add_i32(x.v[2], x.v[3])));
}
KRN_ALWAYS_INLINE lanes_f lanes_to_f32(lanes_i x) {
    lanes_f y;
    KRN_UNROLL
    for (int i = 0; i < PARTS; i++)
        y.v[i] = to_f32(x.v[i]);
    return y;
}
/* To nearest even. */
KRN_ALWAYS_INLINE lanes_i lanes_to_i32(lanes_f x) {
    lanes_i y;
    KRN_UNROLL
    for (int i = 0; i < PARTS; i++)
        y.v[i] = vcvtnq_s32_f32(x.v[i]);
    return y;
}
KRN_ALWAYS_INLINE lanes_f lanes_as_f(lanes_i x) {
    lanes_f y;
    KRN_UNROLL
    for (int i = 0; i < PARTS; i++)
        y.v[i] = as_f32(x.v[i]);
    return y;
}
KRN_ALWAYS_INLINE lanes_i lanes_as_i(lanes_f x) {
    lanes_i y;
    KRN_UNROLL
    for (int i = 0; i < PARTS; i++)
        y.v[i] = as_i32(x.v[i]);
    return y;
}
/* The low bytes of lanes in -128..127 or 0..255. */
KRN_ALWAYS_INLINE uint8x16_t lanes_bytes(lanes_i x) {
    const uint16x8_t first = vuzp1q_u16(vreinterpretq_u16_s32(x.v[0]), vreinterpretq_u16_s32(x.v[1]));
    const uint16x8_t second = vuzp1q_u16(vreinterpretq_u16_s32(x.v[2]), vreinterpretq_u16_s32(x.v[3]));
    return vuzp1q_u8(vreinterpretq_u8_u16(first), vreinterpretq_u8_u16(second));
}
KRN_ALWAYS_INLINE void lanes_store_bytes(void *p, lanes_i x) { vst1q_u8((uint8_t *)p, lanes_bytes(x)); }
/* The first 8 lanes of f32, the rest 0; and a store of 8 bytes. */
KRN_ALWAYS_INLINE lanes_f lanes_load_half(const float *p) {
    return (lanes_f){{load_f(p), load_f(p + 4), zero_f(), zero_f()}};
}
KRN_ALWAYS_INLINE lanes_i lanes_widen_half_u8(const uint8_t *p) {
    const uint16x8_t words = vmovl_u8(vld1_u8(p));
    return (lanes_i){
        {widen_four(vget_low_u16(words)), widen_four(vget_high_u16(words)), broadcast_i32(0), broadcast_i32(0)}};
}
KRN_ALWAYS_INLINE void lanes_store_half_bytes(void *p, lanes_i x) {
    vst1_u8((uint8_t *)p, vget_low_u8(lanes_bytes(x)));
}

#if defined(__ARM_FEATURE_MATMUL_INT8)
typedef lanes_i bytes_u8;
typedef lanes_i bytes_s8;
KRN_ALWAYS_INLINE bytes_u8 bytes_of_u8(lanes_i x) { return x; }
KRN_ALWAYS_INLINE bytes_s8 bytes_of_s8(lanes_i x) { return x; }
KRN_ALWAYS_INLINE lanes_i bytes_dot(lanes_i acc, bytes_u8 u, bytes_s8 s) {
    lanes_i y;
    KRN_UNROLL
    for (int i = 0; i < PARTS; i++)
        y.v[i] = vusdotq_s32(acc.v[i], vreinterpretq_u8_s32(u.v[i]), vreinterpretq_s8_s32(s.v[i]));
    return y;
}
#else
/* There is no product of signed and unsigned bytes: u8 becomes s8 by its top bit, which takes 128 off, and 128 times
 * the sum of the other operand is added. */
typedef lanes_i bytes_u8;
typedef struct {
    lanes_i codes, sums;
} bytes_s8;

/* acc + sum over the 4 bytes of each dword of s8 * s8. */
KRN_ALWAYS_INLINE neon_i dot_signed(neon_i acc, neon_i a, neon_i b) {
    const int8x16_t x = vreinterpretq_s8_s32(a), z = vreinterpretq_s8_s32(b);
#if defined(__ARM_FEATURE_DOTPROD)
    return vdotq_s32(acc, x, z);
#else
    const int32x4_t low = vpaddlq_s16(vmull_s8(vget_low_s8(x), vget_low_s8(z)));
    const int32x4_t high = vpaddlq_s16(vmull_high_s8(x, z));
    return vaddq_s32(acc, vpaddq_s32(low, high));
#endif
}
KRN_ALWAYS_INLINE bytes_u8 bytes_of_u8(lanes_i x) {
    bytes_u8 y;
    KRN_UNROLL
    for (int i = 0; i < PARTS; i++)
        y.v[i] = veorq_s32(x.v[i], broadcast_i32((int32_t)0x80808080u));
    return y;
}
KRN_ALWAYS_INLINE bytes_s8 bytes_of_s8(lanes_i x) {
    bytes_s8 y = {.codes = x};
    KRN_UNROLL
    for (int i = 0; i < PARTS; i++)
        y.sums.v[i] = vshlq_n_s32(dot_signed(broadcast_i32(0), x.v[i], broadcast_i32(0x01010101)), 7);
    return y;
}
KRN_ALWAYS_INLINE lanes_i bytes_dot(lanes_i acc, bytes_u8 u, bytes_s8 s) {
    lanes_i y;
    KRN_UNROLL
    for (int i = 0; i < PARTS; i++)
        y.v[i] = dot_signed(add_i32(acc.v[i], s.sums.v[i]), u.v[i], s.codes.v[i]);
    return y;
}
#endif

#if defined(__ARM_FEATURE_BF16_VECTOR_ARITHMETIC)
#define KRN_UNIT_HAS_PAIRS
/* acc + the two products of bf16 of every dword. */
KRN_ALWAYS_INLINE lanes_f lanes_dot_pairs(lanes_f acc, lanes_i a, lanes_i b) {
    lanes_f y;
    KRN_UNROLL
    for (int i = 0; i < PARTS; i++)
        y.v[i] = vbfdotq_f32(acc.v[i], vreinterpretq_bf16_s32(a.v[i]), vreinterpretq_bf16_s32(b.v[i]));
    return y;
}
/* Lanes as bf16; `swapped`: of every four the second and the third exchanged. */
KRN_ALWAYS_INLINE void lanes_store_bf16(uint16_t *p, lanes_f x, int swapped) {
    static const uint8_t swap[16] = {0, 1, 4, 5, 2, 3, 6, 7, 8, 9, 12, 13, 10, 11, 14, 15};
    KRN_UNROLL
    for (int i = 0; i < PARTS; i += 2) {
        const bfloat16x8_t words = vcvtq_high_bf16_f32(vcvtq_low_bf16_f32(x.v[i]), x.v[i + 1]);
        const uint8x16_t bytes = vreinterpretq_u8_bf16(words);
        vst1q_u8((uint8_t *)(p + 4 * i), swapped ? vqtbl1q_u8(bytes, vld1q_u8(swap)) : bytes);
    }
}
/* The low bytes of all words, e4m3, to bf16: e + 120 is the exponent of a normal one, of the 8 others there is a
 * table. */
KRN_ALWAYS_INLINE neon_i e4m3_to_bf16(uint16x8_t words) {
    static const uint16_t subnormal[8] = {0, 0x3B00, 0x3B80, 0x3BC0, 0x3C00, 0x3C20, 0x3C40, 0x3C60};
    const uint16x8_t magnitude = vandq_u16(words, vdupq_n_u16(0x7F));
    const uint16x8_t normal = vaddq_u16(vshlq_n_u16(magnitude, 4), vdupq_n_u16(0x3C00));
    const uint16x8_t both_bytes = vmlaq_n_u16(vdupq_n_u16(0x0100), magnitude, 0x0202);
    const uint8x16_t found = vqtbl1q_u8(vreinterpretq_u8_u16(vld1q_u16(subnormal)), vreinterpretq_u8_u16(both_bytes));
    const uint16x8_t value = vbslq_u16(vcltq_u16(magnitude, vdupq_n_u16(8)), vreinterpretq_u16_u8(found), normal);
    return vreinterpretq_s32_u16(vbslq_u16(vdupq_n_u16(0x8000), vshlq_n_u16(words, 8), value));
}
/* Of the four e4m3 of every dword the first and third, and the second and fourth, as bf16. */
KRN_ALWAYS_INLINE void lanes_e4m3_pairs(lanes_i raw, lanes_i pairs[2]) {
    KRN_UNROLL
    for (int i = 0; i < PARTS; i++) {
        const uint16x8_t words = vreinterpretq_u16_s32(raw.v[i]);
        pairs[0].v[i] = e4m3_to_bf16(words);
        pairs[1].v[i] = e4m3_to_bf16(vshrq_n_u16(words, 8));
    }
}
#endif

#endif
