/* AVX2 in verbs, so that variants of different instruction sets read side by side. One instruction each. */
#ifndef KRN_SIMD_AVX2_H
#define KRN_SIMD_AVX2_H

#include "common/portability.h"

#include <immintrin.h>
#include <stdint.h>

typedef __m256i ymm_i;
typedef __m256 ymm_f;

/* The names under which code that suits either width knows them. */
typedef ymm_f vec_f;
typedef ymm_i vec_i;
enum { KRN_VEC_LANES = 8 };

KRN_ALWAYS_INLINE ymm_i load_i(const void *p) { return _mm256_loadu_si256((const __m256i *)p); }
KRN_ALWAYS_INLINE void store_i(void *p, ymm_i a) { _mm256_storeu_si256((__m256i *)p, a); }
KRN_ALWAYS_INLINE ymm_f load_f(const void *p) { return _mm256_loadu_ps((const float *)p); }
KRN_ALWAYS_INLINE void store_f(void *p, ymm_f a) { _mm256_storeu_ps((float *)p, a); }
/* Past the caches; `p` is aligned to the vector. Ordered by KRN_STREAM_FENCE. */
KRN_ALWAYS_INLINE void stream_f(void *p, ymm_f a) { _mm256_stream_ps((float *)p, a); }

KRN_ALWAYS_INLINE ymm_i broadcast_i32(int32_t a) { return _mm256_set1_epi32(a); }
KRN_ALWAYS_INLINE ymm_f broadcast_f32(float a) { return _mm256_set1_ps(a); }
KRN_ALWAYS_INLINE ymm_f zero_f(void) { return _mm256_setzero_ps(); }
/* 8 consecutive s16 to s32. */
KRN_ALWAYS_INLINE ymm_i widen_s16(const void *p) { return _mm256_cvtepi16_epi32(_mm_loadu_si128((const __m128i *)p)); }

/* 8 consecutive f16 or bf16 to f32. */
KRN_ALWAYS_INLINE ymm_f widen_f16(const void *p) { return _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)p)); }
KRN_ALWAYS_INLINE ymm_f widen_bf16(const void *p) {
    const __m128i words = _mm_loadu_si128((const __m128i *)p);
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(words), 16));
}

KRN_ALWAYS_INLINE ymm_i and_i(ymm_i a, ymm_i b) { return _mm256_and_si256(a, b); }
KRN_ALWAYS_INLINE ymm_i or_i(ymm_i a, ymm_i b) { return _mm256_or_si256(a, b); }
KRN_ALWAYS_INLINE ymm_i shift_right_i32(ymm_i a, int bits) { return _mm256_srli_epi32(a, bits); }
KRN_ALWAYS_INLINE ymm_i shift_left_i32(ymm_i a, int bits) { return _mm256_slli_epi32(a, bits); }
/* The same by a number of bits that is no constant. */
KRN_ALWAYS_INLINE ymm_i shift_right_by_i32(ymm_i a, unsigned bits) {
    return _mm256_srl_epi32(a, _mm_cvtsi32_si128((int)bits));
}
KRN_ALWAYS_INLINE ymm_i shift_right_i16(ymm_i a, int bits) { return _mm256_srli_epi16(a, bits); }
KRN_ALWAYS_INLINE ymm_i add_i16(ymm_i a, ymm_i b) { return _mm256_add_epi16(a, b); }
KRN_ALWAYS_INLINE ymm_i add_i32(ymm_i a, ymm_i b) { return _mm256_add_epi32(a, b); }
KRN_ALWAYS_INLINE ymm_i sub_i32(ymm_i a, ymm_i b) { return _mm256_sub_epi32(a, b); }
KRN_ALWAYS_INLINE ymm_i mul_i32(ymm_i a, ymm_i b) { return _mm256_mullo_epi32(a, b); }
/* a.low * b.low + a.high * b.high for the two s16 of each dword. */
KRN_ALWAYS_INLINE ymm_i madd_i16(ymm_i a, ymm_i b) { return _mm256_madd_epi16(a, b); }
/* a[0] * b[0] + a[1] * b[1] for the two bytes of each word: a unsigned, b signed, the sum saturated to s16. */
KRN_ALWAYS_INLINE ymm_i madd_u8s8(ymm_i a, ymm_i b) { return _mm256_maddubs_epi16(a, b); }
KRN_ALWAYS_INLINE ymm_f to_f32(ymm_i a) { return _mm256_cvtepi32_ps(a); }
KRN_ALWAYS_INLINE ymm_f as_f32(ymm_i a) { return _mm256_castsi256_ps(a); }
KRN_ALWAYS_INLINE ymm_i as_i(ymm_f a) { return _mm256_castps_si256(a); }

/* table[index mod 8] for every dword: bits 3 and up of an index are ignored. */
KRN_ALWAYS_INLINE ymm_f lookup_f32(ymm_f table, ymm_i index) { return _mm256_permutevar8x32_ps(table, index); }
/* b where the top bit of `choice` is set, else a. */
KRN_ALWAYS_INLINE ymm_f select_f(ymm_f a, ymm_f b, ymm_i choice) {
    return _mm256_blendv_ps(a, b, _mm256_castsi256_ps(choice));
}
KRN_ALWAYS_INLINE ymm_f sub_f(ymm_f a, ymm_f b) { return _mm256_sub_ps(a, b); }
KRN_ALWAYS_INLINE ymm_f div_f(ymm_f a, ymm_f b) { return _mm256_div_ps(a, b); }
/* b where a or b is NaN. */
KRN_ALWAYS_INLINE ymm_f lower_f(ymm_f a, ymm_f b) { return _mm256_min_ps(a, b); }
KRN_ALWAYS_INLINE ymm_f higher_f(ymm_f a, ymm_f b) { return _mm256_max_ps(a, b); }
KRN_ALWAYS_INLINE ymm_f mul_f(ymm_f a, ymm_f b) { return _mm256_mul_ps(a, b); }
/* Bit i: a[i] > b[i]; never for NaN. */
KRN_ALWAYS_INLINE unsigned greater_f(ymm_f a, ymm_f b) {
    return (unsigned)_mm256_movemask_ps(_mm256_cmp_ps(a, b, _CMP_GT_OQ));
}
KRN_ALWAYS_INLINE ymm_f add_f(ymm_f a, ymm_f b) { return _mm256_add_ps(a, b); }
/* a * b + c, rounded once. */
KRN_ALWAYS_INLINE ymm_f fma_f(ymm_f a, ymm_f b, ymm_f c) { return _mm256_fmadd_ps(a, b, c); }

#endif
