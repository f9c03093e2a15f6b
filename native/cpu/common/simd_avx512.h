/* AVX-512 in verbs, so that variants of different instruction sets read side by side. One instruction each. */
#ifndef KRN_SIMD_AVX512_H
#define KRN_SIMD_AVX512_H

#include "common/portability.h"

#include <immintrin.h>
#include <stdint.h>

typedef __m512i zmm_i;
typedef __m512 zmm_f;

/* The names under which code that suits either width knows them. */
typedef zmm_f vec_f;
typedef zmm_i vec_i;
enum { KRN_VEC_LANES = 16 };

KRN_ALWAYS_INLINE zmm_i load_i(const void *p) { return _mm512_loadu_si512(p); }
KRN_ALWAYS_INLINE void store_i(void *p, zmm_i a) { _mm512_storeu_si512(p, a); }
KRN_ALWAYS_INLINE zmm_f load_f(const void *p) { return _mm512_loadu_ps(p); }
KRN_ALWAYS_INLINE void store_f(void *p, zmm_f a) { _mm512_storeu_ps(p, a); }
/* Past the caches; `p` is aligned to the vector. Ordered by KRN_STREAM_FENCE. */
KRN_ALWAYS_INLINE void stream_f(void *p, zmm_f a) { _mm512_stream_ps((float *)p, a); }

/* The lanes below `count`, which is at most 16. */
KRN_ALWAYS_INLINE __mmask16 first_lanes(int64_t count) { return (__mmask16)((1u << count) - 1u); }
/* The first `count` dwords, 0..16: nothing behind them is read, and their lanes are 0; or nothing behind them is
 * written. */
KRN_ALWAYS_INLINE zmm_i load_first_i32(const void *p, int32_t count) {
    return _mm512_maskz_loadu_epi32(first_lanes(count), p);
}
KRN_ALWAYS_INLINE void store_first_i32(void *p, zmm_i a, int32_t count) {
    _mm512_mask_storeu_epi32(p, first_lanes(count), a);
}

KRN_ALWAYS_INLINE zmm_i broadcast_i32(int32_t a) { return _mm512_set1_epi32(a); }
KRN_ALWAYS_INLINE zmm_f broadcast_f32(float a) { return _mm512_set1_ps(a); }
KRN_ALWAYS_INLINE zmm_f zero_f(void) { return _mm512_setzero_ps(); }
/* 16 consecutive s16 to s32. */
KRN_ALWAYS_INLINE zmm_i widen_s16(const void *p) {
    return _mm512_cvtepi16_epi32(_mm256_loadu_si256((const __m256i *)p));
}

/* 16 consecutive u8 to s32. */
KRN_ALWAYS_INLINE zmm_i widen_u8(const void *p) { return _mm512_cvtepu8_epi32(_mm_loadu_si128((const __m128i *)p)); }
/* 16 consecutive f16 or bf16 to f32. */
KRN_ALWAYS_INLINE zmm_f widen_f16(const void *p) { return _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)p)); }
KRN_ALWAYS_INLINE zmm_f widen_bf16(const void *p) {
    const __m256i words = _mm256_loadu_si256((const __m256i *)p);
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(words), 16));
}

/* Within each lane of 128 bits: a0 b0 a1 b1, a2 b2 a3 b3, and the same of qwords; of the lower or higher half of bytes
 * or words. */
KRN_ALWAYS_INLINE zmm_i unpack_low_i8(zmm_i a, zmm_i b) { return _mm512_unpacklo_epi8(a, b); }
KRN_ALWAYS_INLINE zmm_i unpack_high_i8(zmm_i a, zmm_i b) { return _mm512_unpackhi_epi8(a, b); }
KRN_ALWAYS_INLINE zmm_i unpack_low_i16(zmm_i a, zmm_i b) { return _mm512_unpacklo_epi16(a, b); }
KRN_ALWAYS_INLINE zmm_i unpack_high_i16(zmm_i a, zmm_i b) { return _mm512_unpackhi_epi16(a, b); }
KRN_ALWAYS_INLINE zmm_i unpack_low_i32(zmm_i a, zmm_i b) { return _mm512_unpacklo_epi32(a, b); }
KRN_ALWAYS_INLINE zmm_i unpack_high_i32(zmm_i a, zmm_i b) { return _mm512_unpackhi_epi32(a, b); }
KRN_ALWAYS_INLINE zmm_i unpack_low_i64(zmm_i a, zmm_i b) { return _mm512_unpacklo_epi64(a, b); }
KRN_ALWAYS_INLINE zmm_i unpack_high_i64(zmm_i a, zmm_i b) { return _mm512_unpackhi_epi64(a, b); }
/* Lanes of 128 bits: a0 a1 b0 b1, a2 a3 b2 b3, a0 a2 b0 b2, a1 a3 b1 b3. */
KRN_ALWAYS_INLINE zmm_i low_lanes(zmm_i a, zmm_i b) { return _mm512_shuffle_i32x4(a, b, 0x44); }
KRN_ALWAYS_INLINE zmm_i high_lanes(zmm_i a, zmm_i b) { return _mm512_shuffle_i32x4(a, b, 0xEE); }
KRN_ALWAYS_INLINE zmm_i even_lanes(zmm_i a, zmm_i b) { return _mm512_shuffle_i32x4(a, b, 0x88); }
KRN_ALWAYS_INLINE zmm_i odd_lanes(zmm_i a, zmm_i b) { return _mm512_shuffle_i32x4(a, b, 0xDD); }
/* The first `count` dwords, 1..4, of a lane of 128 bits, and nothing behind them; `lane` is a constant. */
KRN_ALWAYS_INLINE void store_lane_i32(void *p, zmm_i a, int lane, int32_t count) {
    __m128i dwords = lane == 0   ? _mm512_castsi512_si128(a)
                     : lane == 1 ? _mm512_extracti32x4_epi32(a, 1)
                     : lane == 2 ? _mm512_extracti32x4_epi32(a, 2)
                                 : _mm512_extracti32x4_epi32(a, 3);
    if (count == 4) {
        _mm_storeu_si128((__m128i *)p, dwords);
        return;
    }
    /* GCC would make one instruction of extraction and masked store, which faults on what the mask leaves out. */
    KRN_KEEP(dwords);
    _mm_mask_storeu_epi32(p, (__mmask8)((1u << count) - 1u), dwords);
}

KRN_ALWAYS_INLINE zmm_i and_i(zmm_i a, zmm_i b) { return _mm512_and_si512(a, b); }
KRN_ALWAYS_INLINE zmm_i xor_i(zmm_i a, zmm_i b) { return _mm512_xor_si512(a, b); }
/* (a & b) | c in one instruction. */
KRN_ALWAYS_INLINE zmm_i and_or_i(zmm_i a, zmm_i b, zmm_i c) { return _mm512_ternarylogic_epi32(a, b, c, 0xEA); }
KRN_ALWAYS_INLINE zmm_i shift_left_i32(zmm_i a, unsigned bits) { return _mm512_slli_epi32(a, bits); }
KRN_ALWAYS_INLINE zmm_i shift_right_i32(zmm_i a, unsigned bits) { return _mm512_srli_epi32(a, bits); }
/* The same by a number of bits that is no constant. */
KRN_ALWAYS_INLINE zmm_i shift_right_by_i32(zmm_i a, unsigned bits) {
    return _mm512_srl_epi32(a, _mm_cvtsi32_si128((int)bits));
}
KRN_ALWAYS_INLINE zmm_i shift_right_i16(zmm_i a, uint8_t bits) { return _mm512_srli_epi16(a, bits); }
KRN_ALWAYS_INLINE zmm_i add_i32(zmm_i a, zmm_i b) { return _mm512_add_epi32(a, b); }
KRN_ALWAYS_INLINE zmm_i sub_i32(zmm_i a, zmm_i b) { return _mm512_sub_epi32(a, b); }
KRN_ALWAYS_INLINE zmm_i sub_i8(zmm_i a, zmm_i b) { return _mm512_sub_epi8(a, b); }
KRN_ALWAYS_INLINE zmm_i sub_i16(zmm_i a, zmm_i b) { return _mm512_sub_epi16(a, b); }
KRN_ALWAYS_INLINE zmm_i mul_i32(zmm_i a, zmm_i b) { return _mm512_mullo_epi32(a, b); }
/* a.low * b.low + a.high * b.high for the two s16 of each dword. */
KRN_ALWAYS_INLINE zmm_i madd_i16(zmm_i a, zmm_i b) { return _mm512_madd_epi16(a, b); }
KRN_ALWAYS_INLINE zmm_f to_f32(zmm_i a) { return _mm512_cvtepi32_ps(a); }
KRN_ALWAYS_INLINE zmm_f as_f32(zmm_i a) { return _mm512_castsi512_ps(a); }
KRN_ALWAYS_INLINE zmm_i as_i(zmm_f a) { return _mm512_castps_si512(a); }

/* 0..15. */
KRN_ALWAYS_INLINE zmm_i lane_numbers(void) {
    return _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
}
/* b in `lanes`, else a. */
KRN_ALWAYS_INLINE zmm_f select_lanes_f(zmm_f a, zmm_f b, __mmask16 lanes) { return _mm512_mask_blend_ps(lanes, a, b); }
/* Writes `lanes` and nothing else. */
KRN_ALWAYS_INLINE void store_lanes_f(void *p, zmm_f a, __mmask16 lanes) { _mm512_mask_storeu_ps(p, lanes, a); }

KRN_ALWAYS_INLINE zmm_f add_f(zmm_f a, zmm_f b) { return _mm512_add_ps(a, b); }
KRN_ALWAYS_INLINE zmm_f mul_f(zmm_f a, zmm_f b) { return _mm512_mul_ps(a, b); }
KRN_ALWAYS_INLINE zmm_f sub_f(zmm_f a, zmm_f b) { return _mm512_sub_ps(a, b); }
KRN_ALWAYS_INLINE zmm_f div_f(zmm_f a, zmm_f b) { return _mm512_div_ps(a, b); }
/* b where a or b is NaN. */
KRN_ALWAYS_INLINE zmm_f lower_f(zmm_f a, zmm_f b) { return _mm512_min_ps(a, b); }
KRN_ALWAYS_INLINE zmm_f higher_f(zmm_f a, zmm_f b) { return _mm512_max_ps(a, b); }
/* Bit i: a[i] > b[i]; never for NaN. */
KRN_ALWAYS_INLINE __mmask16 greater_f(zmm_f a, zmm_f b) { return _mm512_cmp_ps_mask(a, b, _CMP_GT_OQ); }
/* a * b + c, rounded once. */
KRN_ALWAYS_INLINE zmm_f fma_f(zmm_f a, zmm_f b, zmm_f c) { return _mm512_fmadd_ps(a, b, c); }
/* a * *b + c, *b in every lane, which the multiply-add itself loads there. A broadcast of its own takes a turn of the
 * shuffles' pipes on Zen 4. */
KRN_ALWAYS_INLINE zmm_f fma_all_f(zmm_f a, const float *b, zmm_f c) {
    KRN_ADD_PRODUCTS_WITH(c, "vfmadd231ps", a, b, fma_f(a, broadcast_f32(*b), c));
    return c;
}

/* Dword i of the result is dword order[i] mod 16 of a. */
KRN_ALWAYS_INLINE zmm_i permute_i32(zmm_i a, zmm_i order) { return _mm512_permutexvar_epi32(order, a); }
/* table[index mod 16] for every dword: bits 4 and up of an index are ignored. */
KRN_ALWAYS_INLINE zmm_f lookup_f32(zmm_f table, zmm_i index) { return _mm512_permutexvar_ps(index, table); }
/* The 32 floats low, high at index mod 32 for every dword: bits 5 and up of an index are ignored. */
KRN_ALWAYS_INLINE zmm_f lookup_f32x2(zmm_f low, zmm_f high, zmm_i index) {
    return _mm512_permutex2var_ps(low, index, high);
}
/* b where a bit of `choice` is set, else a. */
KRN_ALWAYS_INLINE zmm_f select_f(zmm_f a, zmm_f b, zmm_i choice, int bit) {
    return _mm512_mask_blend_ps(_mm512_test_epi32_mask(choice, _mm512_set1_epi32(1 << bit)), a, b);
}
/* table[index mod 32] for every word: bits 5 and up of an index are ignored. */
KRN_ALWAYS_INLINE zmm_i lookup_u16(zmm_i table, zmm_i index) { return _mm512_permutexvar_epi16(index, table); }

/* table[index mod 32] in the upper word of every dword, by the index there, and 0 in the lower one. */
KRN_ALWAYS_INLINE zmm_i lookup_upper_u16(zmm_i table, zmm_i index) {
    return _mm512_maskz_permutexvar_epi16(0xAAAAAAAA, index, table);
}

#if defined(__AVX512VBMI__)
/* Byte i of the result is byte order[i] mod 64 of a. */
KRN_ALWAYS_INLINE zmm_i permute_u8(zmm_i a, zmm_i order) { return _mm512_permutexvar_epi8(order, a); }
/* The 256 bytes of table at the index that each byte is. */
KRN_ALWAYS_INLINE zmm_i lookup_u8x4(const zmm_i table[4], zmm_i index) {
    return _mm512_mask_blend_epi8(_mm512_movepi8_mask(index), _mm512_permutex2var_epi8(table[0], index, table[1]),
                                  _mm512_permutex2var_epi8(table[2], index, table[3]));
}
#endif

#if defined(__AVX512VNNI__)
/* acc + sum over the 4 bytes of each dword of u8 * s8, exact modulo 2^32. */
KRN_ALWAYS_INLINE zmm_i dot_u8s8(zmm_i acc, zmm_i u, zmm_i s) { return _mm512_dpbusd_epi32(acc, u, s); }
#endif

#if defined(__AVX512BF16__)
/* acc + a.low * b.low + a.high * b.high for the two bf16 of each dword. */
KRN_ALWAYS_INLINE zmm_f dot_bf16(zmm_f acc, zmm_i a, zmm_i b) {
    return _mm512_dpbf16_ps(acc, (__m512bh)a, (__m512bh)b);
}
/* The same with the pair *b in every lane, as fma_all_f has it. */
KRN_ALWAYS_INLINE zmm_f dot_bf16_all(zmm_f acc, zmm_i a, const int32_t *b) {
    KRN_ADD_PRODUCTS_WITH(acc, "vdpbf16ps", a, b, dot_bf16(acc, a, broadcast_i32(*b)));
    return acc;
}
#endif

#endif
