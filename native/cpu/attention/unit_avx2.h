/* Sixteen lanes, one unit of tokens or 16 channels, as two ymm. unit_avx512.h has the same verbs. */
#ifndef KRN_ATTENTION_UNIT_AVX2_H
#define KRN_ATTENTION_UNIT_AVX2_H

#include "common/simd_avx2.h"

typedef struct {
    ymm_f a, b;
} lanes_f;
typedef struct {
    ymm_i a, b;
} lanes_i;

enum {
    /* 4 rows of two ymm leave 8 registers for operands. */
    TILE_ROWS = 4,
    TILE_VECTORS = 1,
    /* Lines that a step asks for ahead: as many as it reads. */
    TILE_AHEAD = 1,
};

KRN_ALWAYS_INLINE void lanes_keep_f(lanes_f *x) {
    KRN_KEEP(x->a);
    KRN_KEEP(x->b);
}
KRN_ALWAYS_INLINE void lanes_keep_i(lanes_i *x) {
    KRN_KEEP(x->a);
    KRN_KEEP(x->b);
}
KRN_ALWAYS_INLINE lanes_f lanes_load(const void *p) { return (lanes_f){load_f(p), load_f((const float *)p + 8)}; }
KRN_ALWAYS_INLINE void lanes_store(void *p, lanes_f x) {
    store_f(p, x.a);
    store_f((float *)p + 8, x.b);
}
KRN_ALWAYS_INLINE lanes_f lanes_all(float x) { return (lanes_f){broadcast_f32(x), broadcast_f32(x)}; }
KRN_ALWAYS_INLINE lanes_f lanes_add(lanes_f x, lanes_f y) { return (lanes_f){add_f(x.a, y.a), add_f(x.b, y.b)}; }
KRN_ALWAYS_INLINE lanes_f lanes_sub(lanes_f x, lanes_f y) { return (lanes_f){sub_f(x.a, y.a), sub_f(x.b, y.b)}; }
KRN_ALWAYS_INLINE lanes_f lanes_mul(lanes_f x, lanes_f y) { return (lanes_f){mul_f(x.a, y.a), mul_f(x.b, y.b)}; }
KRN_ALWAYS_INLINE lanes_f lanes_div(lanes_f x, lanes_f y) {
    return (lanes_f){_mm256_div_ps(x.a, y.a), _mm256_div_ps(x.b, y.b)};
}
KRN_ALWAYS_INLINE lanes_f lanes_fma(lanes_f x, lanes_f y, lanes_f z) {
    return (lanes_f){fma_f(x.a, y.a, z.a), fma_f(x.b, y.b, z.b)};
}
KRN_ALWAYS_INLINE lanes_f lanes_higher(lanes_f x, lanes_f y) {
    return (lanes_f){_mm256_max_ps(x.a, y.a), _mm256_max_ps(x.b, y.b)};
}
KRN_ALWAYS_INLINE lanes_f lanes_lower(lanes_f x, lanes_f y) {
    return (lanes_f){_mm256_min_ps(x.a, y.a), _mm256_min_ps(x.b, y.b)};
}
KRN_ALWAYS_INLINE float lanes_highest(lanes_f x) {
    const ymm_f eight = _mm256_max_ps(x.a, x.b);
    __m128 four = _mm_max_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
    four = _mm_max_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_max_ss(four, _mm_shuffle_ps(four, four, 1)));
}
KRN_ALWAYS_INLINE lanes_f lanes_abs(lanes_f x) {
    const ymm_f sign = broadcast_f32(-0.0f);
    return (lanes_f){_mm256_andnot_ps(sign, x.a), _mm256_andnot_ps(sign, x.b)};
}
/* The magnitude of x with the sign of y. */
KRN_ALWAYS_INLINE lanes_f lanes_with_sign(lanes_f x, lanes_f y) {
    const ymm_f sign = broadcast_f32(-0.0f);
    return (lanes_f){_mm256_or_ps(_mm256_andnot_ps(sign, x.a), _mm256_and_ps(sign, y.a)),
                     _mm256_or_ps(_mm256_andnot_ps(sign, x.b), _mm256_and_ps(sign, y.b))};
}
KRN_ALWAYS_INLINE ymm_f scale_from(ymm_f p, ymm_f n, ymm_f x, float least) {
    const ymm_i power = add_i32(shift_left_i32(_mm256_cvtps_epi32(n), 23), broadcast_i32(0x3F800000));
    return _mm256_and_ps(_mm256_cmp_ps(x, broadcast_f32(least), _CMP_GE_OQ), mul_f(p, as_f32(power)));
}
/* p * 2^n, n a whole number in -126..127, where x >= least, else 0. */
KRN_ALWAYS_INLINE lanes_f lanes_scale_from(lanes_f p, lanes_f n, lanes_f x, float least) {
    return (lanes_f){scale_from(p.a, n.a, x.a, least), scale_from(p.b, n.b, x.b, least)};
}
KRN_ALWAYS_INLINE ymm_f select_range(ymm_f x, ymm_f other, ymm_i index, int32_t first, int32_t last) {
    const ymm_i outside = _mm256_or_si256(_mm256_cmpgt_epi32(broadcast_i32(first), index),
                                          _mm256_cmpgt_epi32(index, broadcast_i32(last)));
    return _mm256_blendv_ps(x, other, _mm256_castsi256_ps(outside));
}
/* x in lanes first..last, `other` elsewhere. */
KRN_ALWAYS_INLINE lanes_f lanes_select_range(lanes_f x, lanes_f other, int32_t first, int32_t last) {
    const ymm_i index = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
    return (lanes_f){select_range(x.a, other.a, index, first, last),
                     select_range(x.b, other.b, add_i32(index, broadcast_i32(8)), first, last)};
}
/* 0, 1, 2 ... 15. */
KRN_ALWAYS_INLINE lanes_f lanes_indices(void) {
    return (lanes_f){_mm256_setr_ps(0, 1, 2, 3, 4, 5, 6, 7), _mm256_setr_ps(8, 9, 10, 11, 12, 13, 14, 15)};
}

KRN_ALWAYS_INLINE lanes_i lanes_load_i(const void *p) { return (lanes_i){load_i(p), load_i((const uint8_t *)p + 32)}; }
KRN_ALWAYS_INLINE lanes_i lanes_all_i(int32_t x) { return (lanes_i){broadcast_i32(x), broadcast_i32(x)}; }
KRN_ALWAYS_INLINE lanes_i lanes_and(lanes_i x, lanes_i y) { return (lanes_i){and_i(x.a, y.a), and_i(x.b, y.b)}; }
KRN_ALWAYS_INLINE lanes_i lanes_or(lanes_i x, lanes_i y) { return (lanes_i){or_i(x.a, y.a), or_i(x.b, y.b)}; }
KRN_ALWAYS_INLINE lanes_i lanes_add_i(lanes_i x, lanes_i y) { return (lanes_i){add_i32(x.a, y.a), add_i32(x.b, y.b)}; }
KRN_ALWAYS_INLINE lanes_i lanes_sub_i(lanes_i x, lanes_i y) { return (lanes_i){sub_i32(x.a, y.a), sub_i32(x.b, y.b)}; }
KRN_ALWAYS_INLINE lanes_i lanes_mul_i(lanes_i x, lanes_i y) { return (lanes_i){mul_i32(x.a, y.a), mul_i32(x.b, y.b)}; }
KRN_ALWAYS_INLINE lanes_i lanes_right(lanes_i x, unsigned bits) {
    return (lanes_i){shift_right_i32(x.a, (int)bits), shift_right_i32(x.b, (int)bits)};
}
KRN_ALWAYS_INLINE lanes_i lanes_left(lanes_i x, int bits) {
    return (lanes_i){shift_left_i32(x.a, bits), shift_left_i32(x.b, bits)};
}
KRN_ALWAYS_INLINE ymm_i widen_eight(const uint8_t *p) {
    return _mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i *)(const void *)p));
}
KRN_ALWAYS_INLINE lanes_i lanes_widen_u8(const uint8_t *p) { return (lanes_i){widen_eight(p), widen_eight(p + 8)}; }
KRN_ALWAYS_INLINE int32_t lanes_total(lanes_i x) {
    const ymm_i eight = add_i32(x.a, x.b);
    __m128i four = _mm_add_epi32(_mm256_castsi256_si128(eight), _mm256_extracti128_si256(eight, 1));
    four = _mm_add_epi32(four, _mm_shuffle_epi32(four, 0x4E));
    return _mm_cvtsi128_si32(_mm_add_epi32(four, _mm_shuffle_epi32(four, 0xB1)));
}
KRN_ALWAYS_INLINE lanes_f lanes_to_f32(lanes_i x) { return (lanes_f){to_f32(x.a), to_f32(x.b)}; }
/* To nearest even. */
KRN_ALWAYS_INLINE lanes_i lanes_to_i32(lanes_f x) {
    return (lanes_i){_mm256_cvtps_epi32(x.a), _mm256_cvtps_epi32(x.b)};
}
KRN_ALWAYS_INLINE lanes_f lanes_as_f(lanes_i x) { return (lanes_f){as_f32(x.a), as_f32(x.b)}; }
KRN_ALWAYS_INLINE lanes_i lanes_as_i(lanes_f x) {
    return (lanes_i){_mm256_castps_si256(x.a), _mm256_castps_si256(x.b)};
}
/* The low bytes of lanes in -128..127 or 0..255. */
KRN_ALWAYS_INLINE __m128i lanes_bytes(lanes_i x) {
    const ymm_i low = broadcast_i32(0xFF);
    const ymm_i words = _mm256_permute4x64_epi64(_mm256_packs_epi32(and_i(x.a, low), and_i(x.b, low)), 0xD8);
    return _mm_packus_epi16(_mm256_castsi256_si128(words), _mm256_extracti128_si256(words, 1));
}
KRN_ALWAYS_INLINE void lanes_store_bytes(void *p, lanes_i x) { _mm_storeu_si128((__m128i *)p, lanes_bytes(x)); }
/* The first 8 lanes of f32, the rest 0; and a store of 8 bytes. */
KRN_ALWAYS_INLINE lanes_f lanes_load_half(const float *p) { return (lanes_f){load_f(p), zero_f()}; }
KRN_ALWAYS_INLINE lanes_i lanes_widen_half_u8(const uint8_t *p) { return (lanes_i){widen_eight(p), broadcast_i32(0)}; }
KRN_ALWAYS_INLINE void lanes_store_half_bytes(void *p, lanes_i x) { _mm_storel_epi64((__m128i *)p, lanes_bytes(x)); }

/* Bytes that are multiplied, widened to words, because products of bytes saturate: of every four bytes the first and
 * third, and the second and fourth. */
typedef struct {
    lanes_i even, odd;
} bytes_u8;
typedef bytes_u8 bytes_s8;
KRN_ALWAYS_INLINE bytes_u8 bytes_of_u8(lanes_i x) {
    const lanes_i low = lanes_all_i(0x00FF00FF);
    return (bytes_u8){lanes_and(x, low), {_mm256_srli_epi16(x.a, 8), _mm256_srli_epi16(x.b, 8)}};
}
KRN_ALWAYS_INLINE bytes_s8 bytes_of_s8(lanes_i x) {
    return (bytes_s8){
        {_mm256_srai_epi16(_mm256_slli_epi16(x.a, 8), 8), _mm256_srai_epi16(_mm256_slli_epi16(x.b, 8), 8)},
        {_mm256_srai_epi16(x.a, 8), _mm256_srai_epi16(x.b, 8)}};
}
KRN_ALWAYS_INLINE lanes_i bytes_dot(lanes_i acc, bytes_u8 u, bytes_s8 s) {
    acc.a = add_i32(acc.a, add_i32(madd_i16(u.even.a, s.even.a), madd_i16(u.odd.a, s.odd.a)));
    acc.b = add_i32(acc.b, add_i32(madd_i16(u.even.b, s.even.b), madd_i16(u.odd.b, s.odd.b)));
    return acc;
}

#endif
