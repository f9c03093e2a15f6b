/* Quantization with AVX-512 F, BW, DQ and VL: 16 elements per step, masked where a block ends. */
#include "common/lanes_avx512.h"
#include "quantize/quantize_variants.h"

/* Elements of a step, and codes, one per byte, of a register. */
enum { STEP = LANES, PAIRED_CODES = 64 };

KRN_ALWAYS_INLINE lanes_i load_codes(const uint8_t *codes, uint8_t flip) {
    return _mm512_cvtepu8_epi32(_mm_xor_si128(_mm_loadu_si128((const __m128i *)codes), _mm_set1_epi8((char)flip)));
}

KRN_ALWAYS_INLINE lanes_i load_codes_rest(const uint8_t *codes, int64_t n, uint8_t flip) {
    return _mm512_cvtepu8_epi32(_mm_xor_si128(_mm_maskz_loadu_epi8(first_lanes(n), codes), _mm_set1_epi8((char)flip)));
}

/* The packs work within 128-bit quarters: dwords of their result are a0 b0 c0 d0 a1 b1 c1 d1 ... */
KRN_ALWAYS_INLINE lanes_i narrow_codes(const lanes_i q[4]) {
    const __m512i order = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
    const __m512i bytes = _mm512_packus_epi16(_mm512_packus_epi32(q[0], q[1]), _mm512_packus_epi32(q[2], q[3]));
    return _mm512_permutexvar_epi32(order, bytes);
}

KRN_ALWAYS_INLINE void store_codes(uint8_t *codes, const lanes_i q[4]) { store_i(codes, narrow_codes(q)); }

KRN_ALWAYS_INLINE void stream_codes(uint8_t *codes, const lanes_i q[4]) {
    _mm512_stream_si512((void *)codes, narrow_codes(q));
}

KRN_ALWAYS_INLINE void store_codes_rest(uint8_t *codes, int64_t n, lanes_i q) {
    const __m128i bytes = _mm512_cvtepi32_epi8(q);
    if (n == STEP)
        _mm_storeu_si128((__m128i *)codes, bytes);
    else
        _mm_mask_storeu_epi8(codes, first_lanes(n), bytes);
}

KRN_ALWAYS_INLINE lanes_i higher_bits(lanes_i a, lanes_i b) { return _mm512_max_epu32(a, b); }
/* Without a way through the general registers. */
KRN_ALWAYS_INLINE float highest_bits(lanes_i x) {
    const __m256i y = _mm256_max_epu32(_mm512_castsi512_si256(x), _mm512_extracti64x4_epi64(x, 1));
    __m128i z = _mm_max_epu32(_mm256_castsi256_si128(y), _mm256_extracti128_si256(y, 1));
    z = _mm_max_epu32(z, _mm_shuffle_epi32(z, _MM_SHUFFLE(1, 0, 3, 2)));
    z = _mm_max_epu32(z, _mm_shuffle_epi32(z, _MM_SHUFFLE(2, 3, 0, 1)));
    return _mm_cvtss_f32(_mm_castsi128_ps(z));
}

KRN_ALWAYS_INLINE lanes_f lower_f(lanes_f a, lanes_f b) { return _mm512_min_ps(a, b); }
KRN_ALWAYS_INLINE lanes_f higher_f(lanes_f a, lanes_f b) { return _mm512_max_ps(a, b); }
KRN_ALWAYS_INLINE float lowest_f(lanes_f x) { return _mm512_reduce_min_ps(x); }
KRN_ALWAYS_INLINE float highest_f(lanes_f x) { return _mm512_reduce_max_ps(x); }

/* To the nearest integer, of two the even one. */
KRN_ALWAYS_INLINE lanes_i round_i32(lanes_f a) { return _mm512_cvtps_epi32(a); }
KRN_ALWAYS_INLINE lanes_i or_i(lanes_i a, lanes_i b) { return _mm512_or_si512(a, b); }
/* 16-bit lanes shifted by a nibble. */
KRN_ALWAYS_INLINE lanes_i nibble_down_i16(lanes_i a) { return _mm512_srli_epi16(a, 4); }
KRN_ALWAYS_INLINE lanes_i nibble_up_i16(lanes_i a) { return _mm512_slli_epi16(a, 4); }
KRN_ALWAYS_INLINE lanes_i widen_u8_i16(const uint8_t *p) {
    return _mm512_cvtepu8_epi16(_mm256_loadu_si256((const __m256i *)p));
}
/* The low bytes of 16-bit lanes whose high bytes are 0. */
KRN_ALWAYS_INLINE void store_low_bytes_i16(uint8_t *p, lanes_i a) {
    _mm256_storeu_si256((__m256i *)p, _mm512_cvtepi16_epi8(a));
}

typedef lanes_f lanes_table;

KRN_ALWAYS_INLINE lanes_table load_table(const float *entries) { return load_f(entries); }
KRN_ALWAYS_INLINE lanes_f entries_at(lanes_table table, lanes_i index) { return lookup_f32(table, index); }
KRN_ALWAYS_INLINE lanes_i add_where_greater(lanes_i sum, lanes_i addend, lanes_f a, lanes_f b) {
    return _mm512_mask_add_epi32(sum, greater_f(a, b), sum, addend);
}

#include "quantize/quantize_loops.h"

const krn_quantize_kernels krn_quantize_avx512 = {
    .name = "avx512",
    .features = KRN_CPU_AVX2 | KRN_CPU_FMA | KRN_CPU_F16C | KRN_CPU_AVX512F | KRN_CPU_AVX512BW | KRN_CPU_AVX512DQ |
                KRN_CPU_AVX512VL,
    .magnitudes = magnitudes,
    .extents = extents,
    .encode = encode,
    .decode = decode,
    .encode_nearest = encode_nearest,
    .decode_entries = decode_entries,
    .pack_nibbles = pack_nibbles,
    .unpack_nibbles = unpack_nibbles,
};
