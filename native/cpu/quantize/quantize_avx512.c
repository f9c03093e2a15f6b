/* Quantization with AVX-512 F, BW, DQ and VL: 16 elements per step, masked where a block ends. */
#include "quantize/quantize_variants.h"

#include <immintrin.h>

enum { STEP = 16, UNROLL = 4 };

KRN_ALWAYS_INLINE __m512 widen(int32_t type, __m256i half) {
    if (type == KRN_TYPE_F16)
        return _mm512_cvtph_ps(half);
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(half), 16));
}

KRN_ALWAYS_INLINE __m512 load(int32_t type, const void *source, int64_t at) {
    if (type == KRN_TYPE_F32)
        return _mm512_loadu_ps((const float *)source + at);
    return widen(type, _mm256_loadu_si256((const __m256i *)((const uint16_t *)source + at)));
}

/* Masks cost: the masked store of a whole register halves the bandwidth to memory on Zen 5. So only the rest of a block,
 * n < 16 elements, is masked. */
KRN_ALWAYS_INLINE __mmask16 first_lanes(int64_t n) { return (__mmask16)((1u << n) - 1); }

/* Lanes from n on are 0. */
KRN_ALWAYS_INLINE __m512 load_rest(int32_t type, const void *source, int64_t at, int64_t n) {
    if (type == KRN_TYPE_F32)
        return _mm512_maskz_loadu_ps(first_lanes(n), (const float *)source + at);
    return widen(type, _mm256_maskz_loadu_epi16(first_lanes(n), (const uint16_t *)source + at));
}

KRN_ALWAYS_INLINE __m512i magnitude_bits(__m512 x) {
    return _mm512_and_si512(_mm512_castps_si512(x), _mm512_set1_epi32(0x7FFFFFFF));
}

KRN_ALWAYS_INLINE __m256i narrow_bf16(__m512 value) {
    const __m512i bits = _mm512_castps_si512(value);
    const __m512i upper = _mm512_srli_epi32(bits, 16);
    const __m512i odd = _mm512_and_si512(upper, _mm512_set1_epi32(1));
    const __m512i rounded =
        _mm512_srli_epi32(_mm512_add_epi32(bits, _mm512_add_epi32(odd, _mm512_set1_epi32(0x7FFF))), 16);
    const __m512i quiet = _mm512_or_si512(upper, _mm512_set1_epi32(0x40));
    const __mmask16 is_nan = _mm512_cmpgt_epu32_mask(magnitude_bits(value), _mm512_set1_epi32(0x7F800000));
    return _mm512_cvtepi32_epi16(_mm512_mask_blend_epi32(is_nan, rounded, quiet));
}

KRN_ALWAYS_INLINE __m256i narrow(int32_t type, __m512 value) {
    if (type == KRN_TYPE_F16)
        /* GCC's unmasked form, a macro without optimization, breaks -Wsign-conversion; with this mask it is the same. */
        return _mm512_maskz_cvtps_ph(0xFFFF, value, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
    return narrow_bf16(value);
}

KRN_ALWAYS_INLINE void store(int32_t type, void *target, int64_t at, __m512 value) {
    if (type == KRN_TYPE_F32)
        _mm512_storeu_ps((float *)target + at, value);
    else
        _mm256_storeu_si256((__m256i *)((uint16_t *)target + at), narrow(type, value));
}

KRN_ALWAYS_INLINE void store_rest(int32_t type, void *target, int64_t at, int64_t n, __m512 value) {
    if (type == KRN_TYPE_F32)
        _mm512_mask_storeu_ps((float *)target + at, first_lanes(n), value);
    else
        _mm256_mask_storeu_epi16((uint16_t *)target + at, first_lanes(n), narrow(type, value));
}

/* The largest lane, without a way through the general registers. */
KRN_ALWAYS_INLINE float reduce_magnitudes(__m512i x) {
    const __m256i y = _mm256_max_epu32(_mm512_castsi512_si256(x), _mm512_extracti64x4_epi64(x, 1));
    __m128i z = _mm_max_epu32(_mm256_castsi256_si128(y), _mm256_extracti128_si256(y, 1));
    z = _mm_max_epu32(z, _mm_shuffle_epi32(z, _MM_SHUFFLE(1, 0, 3, 2)));
    z = _mm_max_epu32(z, _mm_shuffle_epi32(z, _MM_SHUFFLE(2, 3, 0, 1)));
    return _mm_cvtss_f32(_mm_castsi128_ps(z));
}

KRN_ALWAYS_INLINE float magnitude_of(int32_t type, const void *source, int64_t from, int64_t to) {
    /* Two loads per cycle and a maximum per load: two chains keep up. */
    __m512i largest[2] = {_mm512_setzero_si512(), _mm512_setzero_si512()};
    int64_t i = from;
    for (; i + UNROLL * STEP <= to; i += UNROLL * STEP) {
        KRN_UNROLL
        for (int u = 0; u < UNROLL; u++)
            largest[u % 2] = _mm512_max_epu32(largest[u % 2], magnitude_bits(load(type, source, i + u * STEP)));
    }
    for (; i + STEP <= to; i += STEP)
        largest[0] = _mm512_max_epu32(largest[0], magnitude_bits(load(type, source, i)));
    if (i < to)
        largest[1] = _mm512_max_epu32(largest[1], magnitude_bits(load_rest(type, source, i, to - i)));
    return reduce_magnitudes(_mm512_max_epu32(largest[0], largest[1]));
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

KRN_ALWAYS_INLINE void extents_of(int32_t type, const void *source, int64_t count, int64_t block, float *lowest,
                                  float *highest) {
    for (int64_t from = 0; from < count; from += block) {
        const int64_t to = count - from < block ? count : from + block;
        const int64_t first = to - from < STEP ? to - from : STEP;
        /* Lanes that hold no element repeat the first one. */
        __m512 start = first < STEP ? load_rest(type, source, from, first) : load(type, source, from);
        start = _mm512_mask_blend_ps(first_lanes(first), _mm512_broadcastss_ps(_mm512_castps512_ps128(start)), start);
        __m512 low[2] = {start, start}, high[2] = {start, start};
        int64_t i = from + STEP;
        for (; i + 2 * STEP <= to; i += 2 * STEP) {
            KRN_UNROLL
            for (int u = 0; u < 2; u++) {
                const __m512 x = load(type, source, i + u * STEP);
                low[u] = _mm512_min_ps(low[u], x);
                high[u] = _mm512_max_ps(high[u], x);
            }
        }
        for (; i + STEP <= to; i += STEP) {
            const __m512 x = load(type, source, i);
            low[0] = _mm512_min_ps(low[0], x);
            high[0] = _mm512_max_ps(high[0], x);
        }
        if (i < to) {
            const __m512 x = load_rest(type, source, i, to - i);
            low[1] = _mm512_mask_min_ps(low[1], first_lanes(to - i), low[1], x);
            high[1] = _mm512_mask_max_ps(high[1], first_lanes(to - i), high[1], x);
        }
        *lowest++ = _mm512_reduce_min_ps(_mm512_min_ps(low[0], low[1]));
        *highest++ = _mm512_reduce_max_ps(_mm512_max_ps(high[0], high[1]));
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
    __m512 inverse, low, high;
    __m512i zero;
} encoder;

/* Codes in the low bytes of 32-bit lanes. The other bytes are 0, so that a saturating pack keeps the codes. */
KRN_ALWAYS_INLINE __m512i encode_step(const encoder *e, __m512 x) {
    const __m512 scaled = _mm512_mul_ps(x, e->inverse);
    const __m512i q = _mm512_cvtps_epi32(_mm512_min_ps(_mm512_max_ps(scaled, e->low), e->high));
    return _mm512_and_si512(_mm512_add_epi32(q, e->zero), _mm512_set1_epi32(0xFF));
}

/* The packs work within 128-bit quarters: dwords of their result are a0 b0 c0 d0 a1 b1 c1 d1 ... */
KRN_ALWAYS_INLINE __m512i narrow_codes(const __m512i q[UNROLL]) {
    const __m512i order = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
    const __m512i bytes = _mm512_packus_epi16(_mm512_packus_epi32(q[0], q[1]), _mm512_packus_epi32(q[2], q[3]));
    return _mm512_permutexvar_epi32(order, bytes);
}

KRN_ALWAYS_INLINE void encode_of(int32_t type, const void *source, int64_t ahead_bytes, int64_t count, int64_t block,
                                 const krn_block_encoder *encoders, uint8_t *codes) {
    const int64_t size = type == KRN_TYPE_F32 ? 4 : 2;
    const char *ahead = (const char *)source + ahead_bytes;
    for (int64_t from = 0; from < count; from += block, encoders++) {
        const int64_t to = count - from < block ? count : from + block;
        const encoder e = {
            .inverse = _mm512_set1_ps(encoders->inverse),
            .low = _mm512_set1_ps(encoders->low),
            .high = _mm512_set1_ps(encoders->high),
            .zero = _mm512_set1_epi32(encoders->zero),
        };
        int64_t i = from;
        for (; i + UNROLL * STEP <= to; i += UNROLL * STEP) {
            __m512i q[UNROLL];
            KRN_UNROLL
            for (int u = 0; u < UNROLL; u++) {
                _mm_prefetch(ahead + (i + u * STEP) * size, _MM_HINT_T0);
                q[u] = encode_step(&e, load(type, source, i + u * STEP));
            }
            _mm512_storeu_si512(codes + i, narrow_codes(q));
        }
        for (; i + STEP <= to; i += STEP) {
            _mm_prefetch(ahead + i * size, _MM_HINT_T0);
            const __m512i q = encode_step(&e, load(type, source, i));
            _mm_storeu_si128((__m128i *)(codes + i), _mm512_cvtepi32_epi8(q));
        }
        if (i < to) {
            const __m512i q = encode_step(&e, load_rest(type, source, i, to - i));
            _mm_mask_storeu_epi8(codes + i, first_lanes(to - i), _mm512_cvtepi32_epi8(q));
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

KRN_ALWAYS_INLINE __m512 decode_step(__m128i codes, __m128i flips, __m512i zero, __m512 scale) {
    const __m512i unsigned_codes = _mm512_cvtepu8_epi32(_mm_xor_si128(codes, flips));
    return _mm512_mul_ps(_mm512_cvtepi32_ps(_mm512_sub_epi32(unsigned_codes, zero)), scale);
}

KRN_ALWAYS_INLINE void decode_of(const uint8_t *codes, uint8_t flip, int64_t count, int64_t block,
                                 const krn_block_decoder *decoders, int32_t type, void *target) {
    const __m128i flips = _mm_set1_epi8((char)flip);
    for (int64_t from = 0; from < count; from += block, decoders++) {
        const int64_t to = count - from < block ? count : from + block;
        const __m512 scale = _mm512_set1_ps(decoders->scale);
        const __m512i zero = _mm512_set1_epi32(decoders->zero);
        int64_t i = from;
        for (; i + STEP <= to; i += STEP)
            store(type, target, i, decode_step(_mm_loadu_si128((const __m128i *)(codes + i)), flips, zero, scale));
        if (i < to) {
            const __m128i rest = _mm_maskz_loadu_epi8(first_lanes(to - i), codes + i);
            store_rest(type, target, i, to - i, decode_step(rest, flips, zero, scale));
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

/* How many midpoints lie below each element, by bisection: 4 lookups instead of 15 comparisons. */
KRN_ALWAYS_INLINE __m128i nearest_step(__m512 x, __m512 inverse, __m512 midpoints) {
    const __m512 scaled = _mm512_mul_ps(x, inverse);
    __m512i code = _mm512_setzero_si512();
    KRN_UNROLL
    for (int half = 8; half > 0; half /= 2) {
        const __m512i middle = _mm512_add_epi32(code, _mm512_set1_epi32(half - 1));
        const __mmask16 above = _mm512_cmp_ps_mask(scaled, _mm512_permutexvar_ps(middle, midpoints), _CMP_GT_OQ);
        code = _mm512_mask_add_epi32(code, above, code, _mm512_set1_epi32(half));
    }
    return _mm512_cvtepi32_epi8(code);
}

static void encode_nearest(int32_t type, const void *source, int64_t count, int64_t block,
                           const krn_block_encoder *encoders, const float *midpoints, uint8_t *codes) {
    const __m512 table = _mm512_loadu_ps(midpoints);
    for (int64_t from = 0; from < count; from += block, encoders++) {
        const int64_t to = count - from < block ? count : from + block;
        const __m512 inverse = _mm512_set1_ps(encoders->inverse);
        int64_t i = from;
        for (; i + STEP <= to; i += STEP)
            _mm_storeu_si128((__m128i *)(codes + i), nearest_step(load(type, source, i), inverse, table));
        if (i < to)
            _mm_mask_storeu_epi8(codes + i, first_lanes(to - i),
                                 nearest_step(load_rest(type, source, i, to - i), inverse, table));
    }
}

KRN_ALWAYS_INLINE __m512 entries_step(__m128i codes, __m512 codebook, __m512 scale) {
    return _mm512_mul_ps(_mm512_permutexvar_ps(_mm512_cvtepu8_epi32(codes), codebook), scale);
}

static void decode_entries(const uint8_t *codes, int64_t count, int64_t block, const krn_block_decoder *decoders,
                           const float *codebook, int32_t type, void *target) {
    const __m512 table = _mm512_loadu_ps(codebook);
    for (int64_t from = 0; from < count; from += block, decoders++) {
        const int64_t to = count - from < block ? count : from + block;
        const __m512 scale = _mm512_set1_ps(decoders->scale);
        int64_t i = from;
        for (; i + STEP <= to; i += STEP)
            store(type, target, i, entries_step(_mm_loadu_si128((const __m128i *)(codes + i)), table, scale));
        if (i < to) {
            const __m128i rest = _mm_maskz_loadu_epi8(first_lanes(to - i), codes + i);
            store_rest(type, target, i, to - i, entries_step(rest, table, scale));
        }
    }
}

/* A 16-bit lane is a pair of codes, the even one in its low byte. */
KRN_ALWAYS_INLINE __m256i join_pairs(__m512i pairs) {
    const __m512i even = _mm512_and_si512(pairs, _mm512_set1_epi16(0x0F));
    const __m512i odd = _mm512_and_si512(_mm512_srli_epi16(pairs, 4), _mm512_set1_epi16(0xF0));
    return _mm512_cvtepi16_epi8(_mm512_or_si512(even, odd));
}

KRN_ALWAYS_INLINE __m512i split_pairs(__m256i bytes) {
    const __m512i pairs = _mm512_cvtepu8_epi16(bytes);
    const __m512i even = _mm512_and_si512(pairs, _mm512_set1_epi16(0x0F));
    const __m512i odd = _mm512_slli_epi16(_mm512_and_si512(pairs, _mm512_set1_epi16(0xF0)), 4);
    return _mm512_or_si512(even, odd);
}

/* The first n < 64 bytes. */
KRN_ALWAYS_INLINE __mmask64 first_bytes(int64_t n) { return ((__mmask64)1 << n) - 1; }

static void pack_nibbles(const uint8_t *codes, int64_t count, uint8_t *packed) {
    int64_t i = 0;
    for (; i + 64 <= count; i += 64)
        _mm256_storeu_si256((__m256i *)(packed + i / 2), join_pairs(_mm512_loadu_si512(codes + i)));
    if (i < count) {
        const __m256i bytes = join_pairs(_mm512_maskz_loadu_epi8(first_bytes(count - i), codes + i));
        _mm256_mask_storeu_epi8(packed + i / 2, (__mmask32)first_bytes((count - i + 1) / 2), bytes);
    }
}

static void unpack_nibbles(const uint8_t *packed, int64_t count, uint8_t *codes) {
    int64_t i = 0;
    for (; i + 64 <= count; i += 64)
        _mm512_storeu_si512(codes + i, split_pairs(_mm256_loadu_si256((const __m256i *)(packed + i / 2))));
    if (i < count) {
        const __m256i bytes = _mm256_maskz_loadu_epi8((__mmask32)first_bytes((count - i + 1) / 2), packed + i / 2);
        _mm512_mask_storeu_epi8(codes + i, first_bytes(count - i), split_pairs(bytes));
    }
}

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
