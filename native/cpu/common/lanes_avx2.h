/* Elements of f32, f16 and bf16 in the lanes of a register, with AVX2 and F16C, which have no masked access to 16-bit
 * elements: fewer than a register of them go through a buffer on the stack. Bits as in half.h. `type` is a constant
 * wherever these functions are called. */
#ifndef KRN_LANES_AVX2_H
#define KRN_LANES_AVX2_H

#include "common/simd_avx2.h"
#include "kernels/common.h"

#include <string.h>

typedef ymm_f lanes_f;
typedef ymm_i lanes_i;

enum { LANES = 8, LANE_LEVELS = 3 };

KRN_ALWAYS_INLINE lanes_f load_lanes(int32_t type, const void *source, int64_t at) {
    if (type == KRN_TYPE_F32)
        return load_f((const float *)source + at);
    const __m128i half = _mm_loadu_si128((const __m128i *)((const uint16_t *)source + at));
    if (type == KRN_TYPE_F16)
        return _mm256_cvtph_ps(half);
    return as_f32(_mm256_slli_epi32(_mm256_cvtepu16_epi32(half), 16));
}

/* Two registers of them. */
KRN_ALWAYS_INLINE void load_two(int32_t type, const void *source, int64_t at, lanes_f x[2]) {
    if (type != KRN_TYPE_BF16) {
        x[0] = load_lanes(type, source, at);
        x[1] = load_lanes(type, source, at + LANES);
        return;
    }
    /* Words above zeros, within 128-bit halves: one permutation and two unpackings, which any pipe of Zen 5 takes, where
     * widening and shifting two registers are four operations for two of its pipes. */
    const __m256i words = _mm256_permute4x64_epi64(load_i((const uint16_t *)source + at), _MM_SHUFFLE(3, 1, 2, 0));
    x[0] = as_f32(_mm256_unpacklo_epi16(_mm256_setzero_si256(), words));
    x[1] = as_f32(_mm256_unpackhi_epi16(_mm256_setzero_si256(), words));
}

KRN_ALWAYS_INLINE lanes_f load_rest(int32_t type, const void *source, int64_t at, int64_t n) {
    const int64_t size = type == KRN_TYPE_F32 ? 4 : 2;
    unsigned char buffer[LANES * sizeof(float)];
    const unsigned char *from = (const unsigned char *)source + at * size;
    for (int lane = 0; lane < LANES; lane++)
        memcpy(buffer + lane * size, lane < n ? from + lane * size : from, (size_t)size);
    return load_lanes(type, buffer, 0);
}

KRN_ALWAYS_INLINE __m128i narrow_bf16(lanes_f value) {
    const __m256i bits = _mm256_castps_si256(value);
    const __m256i upper = _mm256_srli_epi32(bits, 16);
    const __m256i odd = _mm256_and_si256(upper, _mm256_set1_epi32(1));
    const __m256i rounded =
        _mm256_srli_epi32(_mm256_add_epi32(bits, _mm256_add_epi32(odd, _mm256_set1_epi32(0x7FFF))), 16);
    const __m256i quiet = _mm256_or_si256(upper, _mm256_set1_epi32(0x40));
    const __m256i is_nan = _mm256_castps_si256(_mm256_cmp_ps(value, value, _CMP_UNORD_Q));
    const __m256i result = _mm256_blendv_epi8(rounded, quiet, is_nan);
    return _mm_packus_epi32(_mm256_castsi256_si128(result), _mm256_extracti128_si256(result, 1));
}

KRN_ALWAYS_INLINE void store_lanes(int32_t type, void *target, int64_t at, lanes_f value) {
    if (type == KRN_TYPE_F32) {
        store_f((float *)target + at, value);
        return;
    }
    const __m128i half = type == KRN_TYPE_F16 ? _mm256_cvtps_ph(value, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC)
                                              : narrow_bf16(value);
    _mm_storeu_si128((__m128i *)((uint16_t *)target + at), half);
}

KRN_ALWAYS_INLINE void store_rest(int32_t type, void *target, int64_t at, int64_t n, lanes_f value) {
    const int64_t size = type == KRN_TYPE_F32 ? 4 : 2;
    unsigned char buffer[LANES * sizeof(float)];
    store_lanes(type, buffer, 0, value);
    memcpy((unsigned char *)target + at * size, buffer, (size_t)(n * size));
}

/* Magnitudes as integers: in order, infinity and NaN above all finite numbers. */
KRN_ALWAYS_INLINE lanes_i magnitude_bits(lanes_f x) { return and_i(_mm256_castps_si256(x), broadcast_i32(0x7FFFFFFF)); }
KRN_ALWAYS_INLINE lanes_i higher_bits(lanes_i a, lanes_i b) { return _mm256_max_epu32(a, b); }
KRN_ALWAYS_INLINE float highest_bits(lanes_i x) {
    __m128i best = _mm_max_epu32(_mm256_castsi256_si128(x), _mm256_extracti128_si256(x, 1));
    best = _mm_max_epu32(best, _mm_shuffle_epi32(best, _MM_SHUFFLE(1, 0, 3, 2)));
    best = _mm_max_epu32(best, _mm_shuffle_epi32(best, _MM_SHUFFLE(2, 3, 0, 1)));
    return _mm_cvtss_f32(_mm_castsi128_ps(best));
}

/* To the nearest integer, of two the even one. */
KRN_ALWAYS_INLINE lanes_i round_i32(lanes_f a) { return _mm256_cvtps_epi32(a); }

/* One code per byte. */
typedef lanes_i lanes_codes;

KRN_ALWAYS_INLINE lanes_codes broadcast_code(int32_t code) { return _mm256_set1_epi8((char)code); }
KRN_ALWAYS_INLINE void store_codes(uint8_t *p, lanes_codes a) { store_i(p, a); }

/* The packs work within 128-bit halves: dwords of their result are a0 b0 c0 d0 a1 b1 c1 d1. */
KRN_ALWAYS_INLINE lanes_i in_order(lanes_i bytes) {
    return _mm256_permutevar8x32_epi32(bytes, _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7));
}

/* 4 registers of numbers in -128..127 to bytes. */
KRN_ALWAYS_INLINE lanes_codes narrow_signed(const lanes_i q[4]) {
    return in_order(_mm256_packs_epi16(_mm256_packs_epi32(q[0], q[1]), _mm256_packs_epi32(q[2], q[3])));
}

KRN_ALWAYS_INLINE lanes_codes add_codes(lanes_codes a, lanes_codes b) { return _mm256_add_epi8(a, b); }

/* Past the caches; `p` is aligned to the register. Ordered by KRN_STREAM_FENCE. */
KRN_ALWAYS_INLINE void stream_codes(uint8_t *p, lanes_codes a) { _mm256_stream_si256((__m256i *)(void *)p, a); }

/* bf16 in split registers: the even and the odd ones of 2 LANES in the upper halves of the lanes of two. First f32, which
 * is not NaN unless its lower half is 0, with the bits of the nearest bf16 in the upper half and any in the lower one:
 * half of the last place is added, less one where the last place is even. */
KRN_ALWAYS_INLINE lanes_i round_bf16(lanes_f x) {
    const lanes_f even = as_f32(broadcast_i32(0x7FFF)), odd = as_f32(broadcast_i32(0x8000));
    return add_i32(as_i(x), as_i(select_f(even, odd, shift_left_i32(as_i(x), 15))));
}

KRN_ALWAYS_INLINE lanes_i lower_half(lanes_i x) { return shift_right_i32(x, 16); }

/* Even ones in the lower halves and odd ones in the upper halves, among other bits, of lanes. */
KRN_ALWAYS_INLINE lanes_i join_bf16(lanes_i even, lanes_i odd) { return _mm256_blend_epi16(even, odd, 0xAA); }

/* Widened. */
KRN_ALWAYS_INLINE void split_bf16(lanes_i words, lanes_f x[2]) {
    x[0] = as_f32(shift_left_i32(words, 16));
    x[1] = as_f32(and_i(words, broadcast_i32((int32_t)0xFFFF0000)));
}

#endif
