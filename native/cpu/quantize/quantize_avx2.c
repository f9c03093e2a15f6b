/* Quantization with AVX2 and F16C: 8 elements per step. AVX2 has no masked access to bytes and 16-bit elements, so the
 * rest of a block goes through a buffer on the stack. */
#include "common/lanes_avx2.h"
#include "quantize/quantize_variants.h"

#include <string.h>

/* Elements of a step, and codes, one per byte, of a register. */
enum { STEP = LANES, PAIRED_CODES = 32 };

KRN_ALWAYS_INLINE lanes_i load_codes(const uint8_t *codes, uint8_t flip) {
    return _mm256_cvtepu8_epi32(_mm_xor_si128(_mm_loadl_epi64((const __m128i *)codes), _mm_set1_epi8((char)flip)));
}

KRN_ALWAYS_INLINE lanes_i load_codes_rest(const uint8_t *codes, int64_t n, uint8_t flip) {
    uint8_t buffer[STEP] = {0};
    memcpy(buffer, codes, (size_t)n);
    return load_codes(buffer, flip);
}

/* The packs work within 128-bit halves: dwords of their result are a0 b0 c0 d0 a1 b1 c1 d1. */
KRN_ALWAYS_INLINE lanes_i narrow_codes(lanes_i a, lanes_i b, lanes_i c, lanes_i d) {
    const __m256i bytes = _mm256_packus_epi16(_mm256_packus_epi32(a, b), _mm256_packus_epi32(c, d));
    return _mm256_permutevar8x32_epi32(bytes, _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7));
}

KRN_ALWAYS_INLINE void store_codes(uint8_t *codes, const lanes_i q[4]) {
    store_i(codes, narrow_codes(q[0], q[1], q[2], q[3]));
}

KRN_ALWAYS_INLINE void stream_codes(uint8_t *codes, const lanes_i q[4]) {
    _mm256_stream_si256((__m256i *)(void *)codes, narrow_codes(q[0], q[1], q[2], q[3]));
}

KRN_ALWAYS_INLINE void store_codes_rest(uint8_t *codes, int64_t n, lanes_i q) {
    const lanes_i none = _mm256_setzero_si256();
    const int64_t eight = _mm_cvtsi128_si64(_mm256_castsi256_si128(narrow_codes(q, none, none, none)));
    if (n == STEP)
        memcpy(codes, &eight, sizeof eight);
    else
        memcpy(codes, &eight, (size_t)n);
}

KRN_ALWAYS_INLINE lanes_i magnitude_bits(lanes_f x) { return and_i(_mm256_castps_si256(x), broadcast_i32(0x7FFFFFFF)); }
KRN_ALWAYS_INLINE lanes_i higher_bits(lanes_i a, lanes_i b) { return _mm256_max_epu32(a, b); }
KRN_ALWAYS_INLINE float highest_bits(lanes_i x) {
    __m128i best = _mm_max_epu32(_mm256_castsi256_si128(x), _mm256_extracti128_si256(x, 1));
    best = _mm_max_epu32(best, _mm_shuffle_epi32(best, _MM_SHUFFLE(1, 0, 3, 2)));
    best = _mm_max_epu32(best, _mm_shuffle_epi32(best, _MM_SHUFFLE(2, 3, 0, 1)));
    return _mm_cvtss_f32(_mm_castsi128_ps(best));
}

KRN_ALWAYS_INLINE lanes_f lower_f(lanes_f a, lanes_f b) { return _mm256_min_ps(a, b); }
KRN_ALWAYS_INLINE lanes_f higher_f(lanes_f a, lanes_f b) { return _mm256_max_ps(a, b); }
KRN_ALWAYS_INLINE float lowest_f(lanes_f x) {
    __m128 best = _mm_min_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps(x, 1));
    best = _mm_min_ps(best, _mm_movehl_ps(best, best));
    return _mm_cvtss_f32(_mm_min_ps(best, _mm_shuffle_ps(best, best, 1)));
}
KRN_ALWAYS_INLINE float highest_f(lanes_f x) {
    __m128 best = _mm_max_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps(x, 1));
    best = _mm_max_ps(best, _mm_movehl_ps(best, best));
    return _mm_cvtss_f32(_mm_max_ps(best, _mm_shuffle_ps(best, best, 1)));
}

/* To the nearest integer, of two the even one. */
KRN_ALWAYS_INLINE lanes_i round_i32(lanes_f a) { return _mm256_cvtps_epi32(a); }
/* 16-bit lanes shifted by a nibble. */
KRN_ALWAYS_INLINE lanes_i nibble_down_i16(lanes_i a) { return _mm256_srli_epi16(a, 4); }
KRN_ALWAYS_INLINE lanes_i nibble_up_i16(lanes_i a) { return _mm256_slli_epi16(a, 4); }
KRN_ALWAYS_INLINE lanes_i widen_u8_i16(const uint8_t *p) {
    return _mm256_cvtepu8_epi16(_mm_loadu_si128((const __m128i *)p));
}
/* The low bytes of 16-bit lanes whose high bytes are 0. */
KRN_ALWAYS_INLINE void store_low_bytes_i16(uint8_t *p, lanes_i a) {
    _mm_storeu_si128((__m128i *)p, _mm_packus_epi16(_mm256_castsi256_si128(a), _mm256_extracti128_si256(a, 1)));
}

/* AVX2 looks up 8 entries at a time: bit 3 of an index chooses between two lookups. */
typedef struct {
    lanes_f low, high;
} lanes_table;

KRN_ALWAYS_INLINE lanes_table load_table(const float *entries) {
    return (lanes_table){.low = load_f(entries), .high = load_f(entries + STEP)};
}
KRN_ALWAYS_INLINE lanes_f entries_at(lanes_table table, lanes_i index) {
    return select_f(lookup_f32(table.low, index), lookup_f32(table.high, index), shift_left_i32(index, 28));
}
KRN_ALWAYS_INLINE lanes_i add_where_greater(lanes_i sum, lanes_i addend, lanes_f a, lanes_f b) {
    return add_i32(sum, and_i(addend, _mm256_castps_si256(_mm256_cmp_ps(a, b, _CMP_GT_OQ))));
}

#include "quantize/quantize_loops.h"

const krn_quantize_kernels krn_quantize_avx2 = {
    .name = "avx2",
    .features = KRN_CPU_AVX2 | KRN_CPU_FMA | KRN_CPU_F16C,
    .magnitudes = magnitudes,
    .extents = extents,
    .encode = encode,
    .decode = decode,
    .encode_nearest = encode_nearest,
    .decode_entries = decode_entries,
    .pack_nibbles = pack_nibbles,
    .unpack_nibbles = unpack_nibbles,
};
