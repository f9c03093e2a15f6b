/* Elements of f32, f16 and bf16 in the lanes of a register, with AVX-512 F, BW, DQ and VL. Bits as in half.h. `type` is
 * a constant wherever these functions are called. */
#ifndef KRN_LANES_AVX512_H
#define KRN_LANES_AVX512_H

#include "common/simd_avx512.h"
#include "kernels/common.h"

typedef zmm_f lanes_f;
typedef zmm_i lanes_i;

enum { LANES = 16, LANE_LEVELS = 4 };

KRN_ALWAYS_INLINE lanes_f widen(int32_t type, __m256i half) {
    if (type == KRN_TYPE_F16)
        return _mm512_cvtph_ps(half);
    return as_f32(_mm512_slli_epi32(_mm512_cvtepu16_epi32(half), 16));
}

KRN_ALWAYS_INLINE lanes_f load_lanes(int32_t type, const void *source, int64_t at) {
    if (type == KRN_TYPE_F32)
        return load_f((const float *)source + at);
    return widen(type, _mm256_loadu_si256((const __m256i *)((const uint16_t *)source + at)));
}

/* Two registers of them. */
KRN_ALWAYS_INLINE void load_two(int32_t type, const void *source, int64_t at, lanes_f x[2]) {
    x[0] = load_lanes(type, source, at);
    x[1] = load_lanes(type, source, at + LANES);
}

/* Masks cost: the masked store of a whole register halves the bandwidth to memory on Zen 5. So only the rest of a
 * block, n < 16 elements, is masked. */
KRN_ALWAYS_INLINE lanes_f load_rest(int32_t type, const void *source, int64_t at, int64_t n) {
    const __mmask16 lanes = first_lanes(n);
    const lanes_f x = type == KRN_TYPE_F32
                          ? _mm512_maskz_loadu_ps(lanes, (const float *)source + at)
                          : widen(type, _mm256_maskz_loadu_epi16(lanes, (const uint16_t *)source + at));
    return _mm512_mask_blend_ps(lanes, _mm512_broadcastss_ps(_mm512_castps512_ps128(x)), x);
}

KRN_ALWAYS_INLINE lanes_i magnitude_bits(lanes_f x) { return and_i(as_i(x), broadcast_i32(0x7FFFFFFF)); }

KRN_ALWAYS_INLINE __m256i narrow_bf16(lanes_f value) {
    const __m512i bits = as_i(value);
    const __m512i upper = _mm512_srli_epi32(bits, 16);
    const __m512i odd = _mm512_and_si512(upper, _mm512_set1_epi32(1));
    const __m512i rounded =
        _mm512_srli_epi32(_mm512_add_epi32(bits, _mm512_add_epi32(odd, _mm512_set1_epi32(0x7FFF))), 16);
    const __m512i quiet = _mm512_or_si512(upper, _mm512_set1_epi32(0x40));
    const __mmask16 is_nan = _mm512_cmpgt_epu32_mask(magnitude_bits(value), _mm512_set1_epi32(0x7F800000));
    return _mm512_cvtepi32_epi16(_mm512_mask_blend_epi32(is_nan, rounded, quiet));
}

KRN_ALWAYS_INLINE __m256i narrow(int32_t type, lanes_f value) {
    if (type == KRN_TYPE_F16)
        /* GCC's unmasked form, a macro without optimization, breaks -Wsign-conversion; with this mask it is the
         * same. */
        return _mm512_maskz_cvtps_ph(0xFFFF, value, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
    return narrow_bf16(value);
}

KRN_ALWAYS_INLINE void store_lanes(int32_t type, void *target, int64_t at, lanes_f value) {
    if (type == KRN_TYPE_F32)
        store_f((float *)target + at, value);
    else
        _mm256_storeu_si256((__m256i *)((uint16_t *)target + at), narrow(type, value));
}

KRN_ALWAYS_INLINE void store_rest(int32_t type, void *target, int64_t at, int64_t n, lanes_f value) {
    if (type == KRN_TYPE_F32)
        _mm512_mask_storeu_ps((float *)target + at, first_lanes(n), value);
    else
        _mm256_mask_storeu_epi16((uint16_t *)target + at, first_lanes(n), narrow(type, value));
}

/* Magnitudes as integers: in order, infinity and NaN above all finite numbers. */
KRN_ALWAYS_INLINE lanes_i higher_bits(lanes_i a, lanes_i b) { return _mm512_max_epu32(a, b); }
/* Without a way through the general registers. */
KRN_ALWAYS_INLINE float highest_bits(lanes_i x) {
    const __m256i y = _mm256_max_epu32(_mm512_castsi512_si256(x), _mm512_extracti64x4_epi64(x, 1));
    __m128i z = _mm_max_epu32(_mm256_castsi256_si128(y), _mm256_extracti128_si256(y, 1));
    z = _mm_max_epu32(z, _mm_shuffle_epi32(z, _MM_SHUFFLE(1, 0, 3, 2)));
    z = _mm_max_epu32(z, _mm_shuffle_epi32(z, _MM_SHUFFLE(2, 3, 0, 1)));
    return _mm_cvtss_f32(_mm_castsi128_ps(z));
}

/* To the nearest integer, of two the even one. */
KRN_ALWAYS_INLINE lanes_i round_i32(lanes_f a) { return _mm512_cvtps_epi32(a); }

/* One code per byte. */
typedef lanes_i lanes_codes;

KRN_ALWAYS_INLINE lanes_codes broadcast_code(int32_t code) { return _mm512_set1_epi8((char)code); }
KRN_ALWAYS_INLINE void store_codes(uint8_t *p, lanes_codes a) { store_i(p, a); }

/* The packs work within 128-bit quarters: dwords of their result are a0 b0 c0 d0 a1 b1 c1 d1 ... */
KRN_ALWAYS_INLINE lanes_i in_order(lanes_i bytes) {
    const __m512i order = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
    return _mm512_permutexvar_epi32(order, bytes);
}

/* 4 registers of numbers in -128..127 to bytes. */
KRN_ALWAYS_INLINE lanes_codes narrow_signed(const lanes_i q[4]) {
    return in_order(_mm512_packs_epi16(_mm512_packs_epi32(q[0], q[1]), _mm512_packs_epi32(q[2], q[3])));
}

KRN_ALWAYS_INLINE lanes_codes add_codes(lanes_codes a, lanes_codes b) { return _mm512_add_epi8(a, b); }

/* Past the caches; `p` is aligned to the register. Ordered by KRN_STREAM_FENCE. */
KRN_ALWAYS_INLINE void stream_codes(uint8_t *p, lanes_codes a) { _mm512_stream_si512((void *)p, a); }

/* bf16 in split registers: the even and the odd ones of 2 LANES in the upper halves of the lanes of two. First f32, which
 * is not NaN unless its lower half is 0, with the bits of the nearest bf16 in the upper half and any in the lower one:
 * half of the last place is added, less one where the last place is even. */
KRN_ALWAYS_INLINE lanes_i round_bf16(lanes_f x) {
    const __mmask16 odd = _mm512_test_epi32_mask(as_i(x), broadcast_i32(0x10000));
    return add_i32(as_i(x), _mm512_mask_blend_epi32(odd, broadcast_i32(0x7FFF), broadcast_i32(0x8000)));
}

KRN_ALWAYS_INLINE lanes_i lower_half(lanes_i x) { return shift_right_i32(x, 16); }

/* Even ones in the lower halves and odd ones in the upper halves, among other bits, of lanes. */
KRN_ALWAYS_INLINE lanes_i join_bf16(lanes_i even, lanes_i odd) {
    return _mm512_mask_blend_epi16(0xAAAAAAAA, even, odd);
}

/* Widened. */
KRN_ALWAYS_INLINE void split_bf16(lanes_i words, lanes_f x[2]) {
    x[0] = as_f32(shift_left_i32(words, 16));
    x[1] = as_f32(and_i(words, broadcast_i32((int32_t)0xFFFF0000)));
}

#endif
