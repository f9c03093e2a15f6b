/* Quantization with AVX2 and F16C: 8 elements per step. AVX2 has no masked access to bytes and 16-bit elements, so the
 * rest of a block goes through a buffer on the stack. */
#include "quantize/quantize_variants.h"

#include <immintrin.h>
#include <string.h>

enum { STEP = 8, UNROLL = 4 };

KRN_ALWAYS_INLINE __m256 load(int32_t type, const void *source, int64_t at) {
    if (type == KRN_TYPE_F32)
        return _mm256_loadu_ps((const float *)source + at);
    const __m128i half = _mm_loadu_si128((const __m128i *)((const uint16_t *)source + at));
    if (type == KRN_TYPE_F16)
        return _mm256_cvtph_ps(half);
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(half), 16));
}

KRN_ALWAYS_INLINE int64_t type_bytes(int32_t type) { return type == KRN_TYPE_F32 ? 4 : 2; }

/* The first n < 8 elements from `at`; the other lanes repeat the first of them. */
KRN_ALWAYS_INLINE __m256 load_rest(int32_t type, const void *source, int64_t at, int64_t n) {
    const int64_t size = type_bytes(type);
    unsigned char buffer[STEP * sizeof(float)];
    const unsigned char *from = (const unsigned char *)source + at * size;
    for (int lane = 0; lane < STEP; lane++)
        memcpy(buffer + lane * size, lane < n ? from + lane * size : from, (size_t)size);
    return load(type, buffer, 0);
}

KRN_ALWAYS_INLINE __m128i narrow_bf16(__m256 value) {
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

KRN_ALWAYS_INLINE void store(int32_t type, void *target, int64_t at, __m256 value) {
    if (type == KRN_TYPE_F32) {
        _mm256_storeu_ps((float *)target + at, value);
        return;
    }
    const __m128i half = type == KRN_TYPE_F16 ? _mm256_cvtps_ph(value, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC)
                                              : narrow_bf16(value);
    _mm_storeu_si128((__m128i *)((uint16_t *)target + at), half);
}

KRN_ALWAYS_INLINE __m256i magnitude_bits(__m256 x) {
    return _mm256_and_si256(_mm256_castps_si256(x), _mm256_set1_epi32(0x7FFFFFFF));
}

KRN_ALWAYS_INLINE float magnitude_of(int32_t type, const void *source, int64_t from, int64_t to) {
    /* One accumulator would chain every step to the one before it. */
    __m256i largest[UNROLL];
    KRN_UNROLL
    for (int u = 0; u < UNROLL; u++)
        largest[u] = _mm256_setzero_si256();
    int64_t i = from;
    for (; i + UNROLL * STEP <= to; i += UNROLL * STEP) {
        KRN_UNROLL
        for (int u = 0; u < UNROLL; u++)
            largest[u] = _mm256_max_epu32(largest[u], magnitude_bits(load(type, source, i + u * STEP)));
    }
    for (; i + STEP <= to; i += STEP)
        largest[0] = _mm256_max_epu32(largest[0], magnitude_bits(load(type, source, i)));
    if (i < to)
        largest[1] = _mm256_max_epu32(largest[1], magnitude_bits(load_rest(type, source, i, to - i)));
    const __m256i all =
        _mm256_max_epu32(_mm256_max_epu32(largest[0], largest[1]), _mm256_max_epu32(largest[2], largest[3]));
    __m128i best = _mm_max_epu32(_mm256_castsi256_si128(all), _mm256_extracti128_si256(all, 1));
    best = _mm_max_epu32(best, _mm_shuffle_epi32(best, _MM_SHUFFLE(1, 0, 3, 2)));
    best = _mm_max_epu32(best, _mm_shuffle_epi32(best, _MM_SHUFFLE(2, 3, 0, 1)));
    return _mm_cvtss_f32(_mm_castsi128_ps(best));
}

KRN_ALWAYS_INLINE void magnitudes_of(int32_t type, const void *source, int64_t count, int64_t block, float *magnitude) {
    for (int64_t from = 0; from < count; from += block)
        *magnitude++ = magnitude_of(type, source, from, count - from < block ? count : from + block);
}

static void magnitudes(int32_t type, const void *source, int64_t count, int64_t block, float *magnitude) {
    switch (type) {
    case KRN_TYPE_F32: magnitudes_of(KRN_TYPE_F32, source, count, block, magnitude); break;
    case KRN_TYPE_F16: magnitudes_of(KRN_TYPE_F16, source, count, block, magnitude); break;
    default: magnitudes_of(KRN_TYPE_BF16, source, count, block, magnitude); break;
    }
}

KRN_ALWAYS_INLINE float reduce_min(__m256 x) {
    __m128 best = _mm_min_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps(x, 1));
    best = _mm_min_ps(best, _mm_movehl_ps(best, best));
    return _mm_cvtss_f32(_mm_min_ps(best, _mm_shuffle_ps(best, best, 1)));
}

KRN_ALWAYS_INLINE float reduce_max(__m256 x) {
    __m128 best = _mm_max_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps(x, 1));
    best = _mm_max_ps(best, _mm_movehl_ps(best, best));
    return _mm_cvtss_f32(_mm_max_ps(best, _mm_shuffle_ps(best, best, 1)));
}

KRN_ALWAYS_INLINE void extents_of(int32_t type, const void *source, int64_t count, int64_t block, float *lowest,
                                  float *highest) {
    for (int64_t from = 0; from < count; from += block) {
        const int64_t to = count - from < block ? count : from + block;
        const __m256 start = to - from < STEP ? load_rest(type, source, from, to - from) : load(type, source, from);
        __m256 low0 = start, low1 = start, high0 = start, high1 = start;
        int64_t i = from + STEP;
        for (; i + 2 * STEP <= to; i += 2 * STEP) {
            const __m256 x0 = load(type, source, i);
            const __m256 x1 = load(type, source, i + STEP);
            low0 = _mm256_min_ps(low0, x0);
            low1 = _mm256_min_ps(low1, x1);
            high0 = _mm256_max_ps(high0, x0);
            high1 = _mm256_max_ps(high1, x1);
        }
        for (; i < to; i += STEP) {
            const __m256 x = to - i < STEP ? load_rest(type, source, i, to - i) : load(type, source, i);
            low0 = _mm256_min_ps(low0, x);
            high0 = _mm256_max_ps(high0, x);
        }
        *lowest++ = reduce_min(_mm256_min_ps(low0, low1));
        *highest++ = reduce_max(_mm256_max_ps(high0, high1));
    }
}

static void extents(int32_t type, const void *source, int64_t count, int64_t block, float *lowest, float *highest) {
    switch (type) {
    case KRN_TYPE_F32: extents_of(KRN_TYPE_F32, source, count, block, lowest, highest); break;
    case KRN_TYPE_F16: extents_of(KRN_TYPE_F16, source, count, block, lowest, highest); break;
    default: extents_of(KRN_TYPE_BF16, source, count, block, lowest, highest); break;
    }
}

typedef struct {
    __m256 inverse, low, high;
    __m256i zero;
} encoder;

/* Eight codes in the low bytes of 32-bit lanes, the other bytes 0. */
KRN_ALWAYS_INLINE __m256i encode_step(const encoder *e, __m256 x) {
    const __m256 scaled = _mm256_mul_ps(x, e->inverse);
    const __m256i q = _mm256_cvtps_epi32(_mm256_min_ps(_mm256_max_ps(scaled, e->low), e->high));
    return _mm256_and_si256(_mm256_add_epi32(q, e->zero), _mm256_set1_epi32(0xFF));
}

/* The packs work within 128-bit halves: dwords of the result are a0 b0 c0 d0 a1 b1 c1 d1. */
KRN_ALWAYS_INLINE __m256i narrow_codes(__m256i a, __m256i b, __m256i c, __m256i d) {
    const __m256i bytes = _mm256_packus_epi16(_mm256_packus_epi32(a, b), _mm256_packus_epi32(c, d));
    return _mm256_permutevar8x32_epi32(bytes, _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7));
}

KRN_ALWAYS_INLINE void encode_of(int32_t type, const void *source, int64_t ahead_bytes, int64_t count, int64_t block,
                                 const krn_block_encoder *encoders, uint8_t *codes) {
    const int64_t size = type_bytes(type);
    const char *ahead = (const char *)source + ahead_bytes;
    const __m256i none = _mm256_setzero_si256();
    for (int64_t from = 0; from < count; from += block, encoders++) {
        const int64_t to = count - from < block ? count : from + block;
        const encoder e = {
            .inverse = _mm256_set1_ps(encoders->inverse),
            .low = _mm256_set1_ps(encoders->low),
            .high = _mm256_set1_ps(encoders->high),
            .zero = _mm256_set1_epi32(encoders->zero),
        };
        int64_t i = from;
        for (; i + UNROLL * STEP <= to; i += UNROLL * STEP) {
            /* A step of the loop reads one cache line of f16 and bf16, two of f32. */
            _mm_prefetch(ahead + i * size, _MM_HINT_T0);
            _mm_prefetch(ahead + (i + 16) * size, _MM_HINT_T0);
            __m256i q[UNROLL];
            KRN_UNROLL
            for (int u = 0; u < UNROLL; u++)
                q[u] = encode_step(&e, load(type, source, i + u * STEP));
            _mm256_storeu_si256((__m256i *)(codes + i), narrow_codes(q[0], q[1], q[2], q[3]));
        }
        for (; i < to; i += STEP) {
            const int64_t n = to - i < STEP ? to - i : STEP;
            const __m256 x = n < STEP ? load_rest(type, source, i, n) : load(type, source, i);
            const __m256i bytes = narrow_codes(encode_step(&e, x), none, none, none);
            const int64_t eight = _mm_cvtsi128_si64(_mm256_castsi256_si128(bytes));
            if (n == STEP)
                memcpy(codes + i, &eight, sizeof eight);
            else
                memcpy(codes + i, &eight, (size_t)n);
        }
    }
}

static void encode(int32_t type, const void *source, int64_t ahead_bytes, int64_t count, int64_t block,
                   const krn_block_encoder *encoders, uint8_t *codes) {
    switch (type) {
    case KRN_TYPE_F32: encode_of(KRN_TYPE_F32, source, ahead_bytes, count, block, encoders, codes); break;
    case KRN_TYPE_F16: encode_of(KRN_TYPE_F16, source, ahead_bytes, count, block, encoders, codes); break;
    default: encode_of(KRN_TYPE_BF16, source, ahead_bytes, count, block, encoders, codes); break;
    }
}

/* Values of the eight codes in `bytes`. */
KRN_ALWAYS_INLINE __m256 decode_step(int64_t bytes, __m128i flips, __m256i zero, __m256 scale) {
    const __m128i code = _mm_xor_si128(_mm_cvtsi64_si128(bytes), flips);
    return _mm256_mul_ps(_mm256_cvtepi32_ps(_mm256_sub_epi32(_mm256_cvtepu8_epi32(code), zero)), scale);
}

KRN_ALWAYS_INLINE void decode_of(const uint8_t *codes, uint8_t flip, int64_t count, int64_t block,
                                 const krn_block_decoder *decoders, int32_t type, void *target) {
    const int64_t size = type_bytes(type);
    const __m128i flips = _mm_set1_epi8((char)flip);
    for (int64_t from = 0; from < count; from += block, decoders++) {
        const int64_t to = count - from < block ? count : from + block;
        const __m256 scale = _mm256_set1_ps(decoders->scale);
        const __m256i zero = _mm256_set1_epi32(decoders->zero);
        int64_t i = from;
        for (; i + STEP <= to; i += STEP) {
            int64_t bytes;
            memcpy(&bytes, codes + i, sizeof bytes);
            store(type, target, i, decode_step(bytes, flips, zero, scale));
        }
        if (i < to) {
            int64_t bytes = 0;
            unsigned char buffer[STEP * sizeof(float)];
            memcpy(&bytes, codes + i, (size_t)(to - i));
            store(type, buffer, 0, decode_step(bytes, flips, zero, scale));
            memcpy((unsigned char *)target + i * size, buffer, (size_t)((to - i) * size));
        }
    }
}

static void decode(const uint8_t *codes, uint8_t flip, int64_t count, int64_t block, const krn_block_decoder *decoders,
                   int32_t type, void *target) {
    switch (type) {
    case KRN_TYPE_F32: decode_of(codes, flip, count, block, decoders, KRN_TYPE_F32, target); break;
    case KRN_TYPE_F16: decode_of(codes, flip, count, block, decoders, KRN_TYPE_F16, target); break;
    default: decode_of(codes, flip, count, block, decoders, KRN_TYPE_BF16, target); break;
    }
}

/* How many midpoints lie below each element. */
KRN_ALWAYS_INLINE __m256i nearest_step(__m256 x, __m256 inverse, const float *midpoints) {
    const __m256 scaled = _mm256_mul_ps(x, inverse);
    __m256i code = _mm256_setzero_si256();
    KRN_UNROLL
    for (int i = 0; i < 15; i++)
        code = _mm256_sub_epi32(
            code, _mm256_castps_si256(_mm256_cmp_ps(scaled, _mm256_broadcast_ss(midpoints + i), _CMP_GT_OQ)));
    return code;
}

static void encode_nearest(int32_t type, const void *source, int64_t count, int64_t block,
                           const krn_block_encoder *encoders, const float *midpoints, uint8_t *codes) {
    const __m256i none = _mm256_setzero_si256();
    for (int64_t from = 0; from < count; from += block, encoders++) {
        const int64_t to = count - from < block ? count : from + block;
        const __m256 inverse = _mm256_set1_ps(encoders->inverse);
        for (int64_t i = from; i < to; i += STEP) {
            const int64_t n = to - i < STEP ? to - i : STEP;
            const __m256 x = n < STEP ? load_rest(type, source, i, n) : load(type, source, i);
            const __m256i bytes = narrow_codes(nearest_step(x, inverse, midpoints), none, none, none);
            const int64_t eight = _mm_cvtsi128_si64(_mm256_castsi256_si128(bytes));
            memcpy(codes + i, &eight, (size_t)n);
        }
    }
}

/* Entries of the eight codes in `bytes`: two tables of 8, and bit 3 of a code chooses. */
KRN_ALWAYS_INLINE __m256 entries_step(int64_t bytes, __m256 low, __m256 high, __m256 scale) {
    const __m256i code = _mm256_cvtepu8_epi32(_mm_cvtsi64_si128(bytes));
    const __m256 choice = _mm256_castsi256_ps(_mm256_slli_epi32(code, 28));
    const __m256 entry =
        _mm256_blendv_ps(_mm256_permutevar8x32_ps(low, code), _mm256_permutevar8x32_ps(high, code), choice);
    return _mm256_mul_ps(entry, scale);
}

static void decode_entries(const uint8_t *codes, int64_t count, int64_t block, const krn_block_decoder *decoders,
                           const float *codebook, int32_t type, void *target) {
    const int64_t size = type_bytes(type);
    const __m256 low = _mm256_loadu_ps(codebook), high = _mm256_loadu_ps(codebook + 8);
    for (int64_t from = 0; from < count; from += block, decoders++) {
        const int64_t to = count - from < block ? count : from + block;
        const __m256 scale = _mm256_set1_ps(decoders->scale);
        for (int64_t i = from; i < to; i += STEP) {
            const int64_t n = to - i < STEP ? to - i : STEP;
            int64_t bytes = 0;
            memcpy(&bytes, codes + i, (size_t)n);
            unsigned char buffer[STEP * sizeof(float)];
            store(type, buffer, 0, entries_step(bytes, low, high, scale));
            memcpy((unsigned char *)target + i * size, buffer, (size_t)(n * size));
        }
    }
}

static void pack_nibbles(const uint8_t *codes, int64_t count, uint8_t *packed) {
    int64_t i = 0;
    for (; i + 32 <= count; i += 32) {
        /* A 16-bit lane is a pair of codes, the even one in its low byte. */
        const __m256i pairs = _mm256_loadu_si256((const __m256i *)(codes + i));
        const __m256i even = _mm256_and_si256(pairs, _mm256_set1_epi16(0x0F));
        const __m256i odd = _mm256_and_si256(_mm256_srli_epi16(pairs, 4), _mm256_set1_epi16(0xF0));
        const __m256i bytes = _mm256_or_si256(even, odd);
        _mm_storeu_si128((__m128i *)(packed + i / 2),
                         _mm_packus_epi16(_mm256_castsi256_si128(bytes), _mm256_extracti128_si256(bytes, 1)));
    }
    if (i < count)
        krn_quantize_ref.pack_nibbles(codes + i, count - i, packed + i / 2);
}

static void unpack_nibbles(const uint8_t *packed, int64_t count, uint8_t *codes) {
    int64_t i = 0;
    for (; i + 32 <= count; i += 32) {
        const __m256i pairs = _mm256_cvtepu8_epi16(_mm_loadu_si128((const __m128i *)(packed + i / 2)));
        const __m256i even = _mm256_and_si256(pairs, _mm256_set1_epi16(0x0F));
        const __m256i odd = _mm256_slli_epi16(_mm256_and_si256(pairs, _mm256_set1_epi16(0xF0)), 4);
        _mm256_storeu_si256((__m256i *)(codes + i), _mm256_or_si256(even, odd));
    }
    if (i < count)
        krn_quantize_ref.unpack_nibbles(packed + i / 2, count - i, codes + i);
}

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
