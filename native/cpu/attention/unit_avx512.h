/* Sixteen lanes, one unit of tokens or 16 channels, as one zmm. unit_avx2.h has the same verbs. */
#ifndef KRN_ATTENTION_UNIT_AVX512_H
#define KRN_ATTENTION_UNIT_AVX512_H

#include "common/simd_avx512.h"

typedef zmm_f lanes_f;
typedef zmm_i lanes_i;

enum {
    /* 6 rows by 4 vectors leave 8 registers for operands. */
    TILE_ROWS = 6,
    TILE_VECTORS = 4,
    /* Lines that a step asks for ahead: of four that it reads, three; softmax asks for the others. */
    TILE_AHEAD = 3,
};

KRN_ALWAYS_INLINE void lanes_keep_f(lanes_f *a) { KRN_KEEP(*a); }
KRN_ALWAYS_INLINE void lanes_keep_i(lanes_i *a) { KRN_KEEP(*a); }
KRN_ALWAYS_INLINE lanes_f lanes_load(const void *p) { return load_f(p); }
KRN_ALWAYS_INLINE void lanes_store(void *p, lanes_f a) { store_f(p, a); }
KRN_ALWAYS_INLINE lanes_f lanes_all(float a) { return broadcast_f32(a); }
KRN_ALWAYS_INLINE lanes_f lanes_add(lanes_f a, lanes_f b) { return add_f(a, b); }
KRN_ALWAYS_INLINE lanes_f lanes_sub(lanes_f a, lanes_f b) { return sub_f(a, b); }
KRN_ALWAYS_INLINE lanes_f lanes_mul(lanes_f a, lanes_f b) { return mul_f(a, b); }
KRN_ALWAYS_INLINE lanes_f lanes_div(lanes_f a, lanes_f b) { return _mm512_div_ps(a, b); }
KRN_ALWAYS_INLINE lanes_f lanes_fma(lanes_f a, lanes_f b, lanes_f c) { return fma_f(a, b, c); }
KRN_ALWAYS_INLINE lanes_f lanes_higher(lanes_f a, lanes_f b) { return _mm512_max_ps(a, b); }
KRN_ALWAYS_INLINE lanes_f lanes_lower(lanes_f a, lanes_f b) { return _mm512_min_ps(a, b); }
KRN_ALWAYS_INLINE float lanes_highest(lanes_f a) { return _mm512_reduce_max_ps(a); }
KRN_ALWAYS_INLINE lanes_f lanes_abs(lanes_f a) { return _mm512_abs_ps(a); }
/* The magnitude of a with the sign of b. */
KRN_ALWAYS_INLINE lanes_f lanes_with_sign(lanes_f a, lanes_f b) {
    return as_f32(_mm512_ternarylogic_epi32(as_i(a), as_i(b), broadcast_i32(INT32_MIN), 0xD8));
}
/* a in lanes first..last, `other` elsewhere. */
KRN_ALWAYS_INLINE lanes_f lanes_select_range(lanes_f a, lanes_f other, int32_t first, int32_t last) {
    const zmm_i index = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    const __mmask16 inside = (__mmask16)(_mm512_cmpge_epi32_mask(index, broadcast_i32(first)) &
                                         _mm512_cmple_epi32_mask(index, broadcast_i32(last)));
    return _mm512_mask_blend_ps(inside, other, a);
}
/* 0, 1, 2 ... 15. */
KRN_ALWAYS_INLINE lanes_f lanes_indices(void) {
    return _mm512_setr_ps(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
}

/* p * 2^n, n a whole number, where x >= least, else 0. */
KRN_ALWAYS_INLINE lanes_f lanes_scale_from(lanes_f p, lanes_f n, lanes_f x, float least) {
    return _mm512_maskz_scalef_ps(_mm512_cmp_ps_mask(x, broadcast_f32(least), _CMP_GE_OQ), p, n);
}

KRN_ALWAYS_INLINE lanes_i lanes_load_i(const void *p) { return load_i(p); }
KRN_ALWAYS_INLINE lanes_i lanes_all_i(int32_t a) { return broadcast_i32(a); }
KRN_ALWAYS_INLINE lanes_i lanes_and(lanes_i a, lanes_i b) { return and_i(a, b); }
KRN_ALWAYS_INLINE lanes_i lanes_or(lanes_i a, lanes_i b) { return _mm512_or_si512(a, b); }
KRN_ALWAYS_INLINE lanes_i lanes_add_i(lanes_i a, lanes_i b) { return add_i32(a, b); }
KRN_ALWAYS_INLINE lanes_i lanes_sub_i(lanes_i a, lanes_i b) { return sub_i32(a, b); }
KRN_ALWAYS_INLINE lanes_i lanes_mul_i(lanes_i a, lanes_i b) { return mul_i32(a, b); }
KRN_ALWAYS_INLINE lanes_i lanes_right(lanes_i a, unsigned bits) { return _mm512_srli_epi32(a, bits); }
KRN_ALWAYS_INLINE lanes_i lanes_left(lanes_i a, unsigned bits) { return _mm512_slli_epi32(a, bits); }
KRN_ALWAYS_INLINE lanes_i lanes_widen_u8(const uint8_t *p) { return widen_u8(p); }
KRN_ALWAYS_INLINE int32_t lanes_total(lanes_i a) { return _mm512_reduce_add_epi32(a); }
KRN_ALWAYS_INLINE lanes_f lanes_to_f32(lanes_i a) { return to_f32(a); }
/* To nearest even. */
KRN_ALWAYS_INLINE lanes_i lanes_to_i32(lanes_f a) { return _mm512_cvtps_epi32(a); }
KRN_ALWAYS_INLINE lanes_f lanes_as_f(lanes_i a) { return as_f32(a); }
KRN_ALWAYS_INLINE lanes_i lanes_as_i(lanes_f a) { return as_i(a); }
/* The low bytes. */
KRN_ALWAYS_INLINE void lanes_store_bytes(void *p, lanes_i a) {
    _mm_storeu_si128((__m128i *)p, _mm512_cvtepi32_epi8(a));
}
/* The first 8 lanes of f32, the rest 0; and a store of 8 bytes. */
KRN_ALWAYS_INLINE lanes_f lanes_load_half(const float *p) { return _mm512_maskz_loadu_ps(0xFF, p); }
KRN_ALWAYS_INLINE lanes_i lanes_widen_half_u8(const uint8_t *p) {
    return _mm512_cvtepu8_epi32(_mm_loadl_epi64((const __m128i *)(const void *)p));
}
KRN_ALWAYS_INLINE void lanes_store_half_bytes(void *p, lanes_i a) {
    _mm_storel_epi64((__m128i *)p, _mm512_cvtepi32_epi8(a));
}

#if defined(__AVX512VNNI__)
/* Bytes that are multiplied: unsigned, signed; from memory, or four broadcast to all lanes. */
typedef zmm_i bytes_u8;
typedef zmm_i bytes_s8;
KRN_ALWAYS_INLINE bytes_u8 bytes_of_u8(lanes_i a) { return a; }
KRN_ALWAYS_INLINE bytes_s8 bytes_of_s8(lanes_i a) { return a; }
KRN_ALWAYS_INLINE lanes_i bytes_dot(lanes_i acc, bytes_u8 u, bytes_s8 s) { return dot_u8s8(acc, u, s); }
#else
/* Widened to words, because products of bytes saturate: of every four bytes the first and third, and the second and
 * fourth. */
typedef struct {
    zmm_i even, odd;
} bytes_u8;
typedef bytes_u8 bytes_s8;
KRN_ALWAYS_INLINE bytes_u8 bytes_of_u8(lanes_i a) {
    return (bytes_u8){and_i(a, broadcast_i32(0x00FF00FF)), _mm512_srli_epi16(a, 8)};
}
KRN_ALWAYS_INLINE bytes_s8 bytes_of_s8(lanes_i a) {
    return (bytes_s8){_mm512_srai_epi16(_mm512_slli_epi16(a, 8), 8), _mm512_srai_epi16(a, 8)};
}
KRN_ALWAYS_INLINE lanes_i bytes_dot(lanes_i acc, bytes_u8 u, bytes_s8 s) {
    return add_i32(acc, add_i32(madd_i16(u.even, s.even), madd_i16(u.odd, s.odd)));
}
#endif

#if defined(__AVX512BF16__)
#define KRN_UNIT_HAS_PAIRS
/* acc + the two products of bf16 of every dword. */
KRN_ALWAYS_INLINE lanes_f lanes_dot_pairs(lanes_f acc, lanes_i a, lanes_i b) { return dot_bf16(acc, a, b); }
/* Lanes as bf16; `swapped`: of every four the second and the third exchanged. */
KRN_ALWAYS_INLINE void lanes_store_bf16(uint16_t *p, lanes_f a, int swapped) {
    __m256i words = (__m256i)_mm512_cvtneps_pbh(a);
    if (swapped)
        words = _mm256_shufflehi_epi16(_mm256_shufflelo_epi16(words, 0xD8), 0xD8);
    _mm256_storeu_si256((__m256i *)(void *)p, words);
}
/* The low bytes of all words, e4m3, to bf16: e + 120 is the exponent of a normal one, of the 8 others there is a
 * table. */
KRN_ALWAYS_INLINE zmm_i e4m3_to_bf16(zmm_i words) {
    const zmm_i subnormal =
        _mm512_castsi128_si512(_mm_setr_epi16(0, 0x3B00, 0x3B80, 0x3BC0, 0x3C00, 0x3C20, 0x3C40, 0x3C60));
    const zmm_i magnitude = and_i(words, broadcast_i32(0x007F007F));
    const zmm_i normal = _mm512_add_epi16(_mm512_slli_epi16(magnitude, 4), broadcast_i32(0x3C003C00));
    const __mmask32 is_subnormal = _mm512_cmplt_epu16_mask(magnitude, broadcast_i32(0x00080008));
    const zmm_i value = _mm512_mask_permutexvar_epi16(normal, is_subnormal, magnitude, subnormal);
    /* value | (words << 8 & 0x8000) */
    return _mm512_ternarylogic_epi32(value, _mm512_slli_epi16(words, 8), broadcast_i32(INT32_C(-2147450880)), 0xF8);
}
/* Of the four e4m3 of every dword the first and third, and the second and fourth, as bf16. Among e4m3 that are all
 * normal, the rule, shifts put a byte at the high end of a word in place, its sign extended and cut off again. */
KRN_ALWAYS_INLINE void lanes_e4m3_pairs(lanes_i raw, lanes_i pairs[2]) {
    const zmm_i kept = broadcast_i32(INT32_C(-2014279696)), rebias = broadcast_i32(0x3C003C00);
    pairs[0] = _mm512_add_epi16(and_i(_mm512_srai_epi16(_mm512_slli_epi16(raw, 8), 4), kept), rebias);
    pairs[1] = _mm512_add_epi16(and_i(_mm512_srai_epi16(raw, 4), kept), rebias);
    if (_mm512_testn_epi8_mask(raw, broadcast_i32(0x78787878)) != 0) {
        pairs[0] = e4m3_to_bf16(raw);
        pairs[1] = e4m3_to_bf16(_mm512_srli_epi16(raw, 8));
    }
}
#endif

#endif
