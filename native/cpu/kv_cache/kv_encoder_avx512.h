/* What the kernels of krn_kv_cache_append share with AVX-512 F, BW, DQ and VL: scales of 16 tokens or channels at a
 * time, and how registers of codes become the lines of a page. */
#ifndef KRN_KV_ENCODER_AVX512_H
#define KRN_KV_ENCODER_AVX512_H

#include "kv_cache/kv_cache_variants.h"

#include "common/lanes_avx512.h"

#include <float.h>

/* How the 16 tokens of a block, or 16 channels of a group, become codes: q = rint(clamp(x * inverse, low, high)) +
 * zero, in the stored form. */
typedef struct {
    _Alignas(64) float inverse[KRN_KV_BLOCK];
    float low[KRN_KV_BLOCK];
    float high[KRN_KV_BLOCK];
    int32_t zero[KRN_KV_BLOCK];
} block_encoder;

/* A whole line of a page: past the caches or into them. */
KRN_ALWAYS_INLINE void put(const krn_kv_block *block, void *to, lanes_i x) {
    if (block->stream)
        _mm512_stream_si512(to, x);
    else
        store_i(to, x);
}

/* (high - low) / range in binary64, rounded once, of 8 lanes. */
KRN_ALWAYS_INLINE __m256 range_steps(__m256 low, __m256 high, float range) {
    const __m512d width = _mm512_sub_pd(_mm512_cvtps_pd(high), _mm512_cvtps_pd(low));
    return _mm512_cvtpd_ps(_mm512_div_pd(width, _mm512_set1_pd((double)range)));
}

/* What krn_quantize_derive and krn_quantize_encoder give for one token or channel, for 16. */
KRN_ALWAYS_INLINE void derive_asymmetric(const krn_quantize_scheme *scheme, lanes_f lowest, lanes_f highest,
                                         float *scales, uint8_t *zero_points, block_encoder *encoder) {
    const lanes_f low = _mm512_min_ps(lowest, zero_f()), high = _mm512_max_ps(highest, zero_f());
    const float range = (float)(scheme->q_max - scheme->q_min);
    const lanes_f quotient = _mm512_insertf32x8(
        _mm512_castps256_ps512(range_steps(_mm512_castps512_ps256(low), _mm512_castps512_ps256(high), range)),
        range_steps(_mm512_extractf32x8_ps(low, 1), _mm512_extractf32x8_ps(high, 1), range), 1);
    const __mmask16 has_scale = _mm512_cmp_ps_mask(quotient, broadcast_f32(FLT_MIN), _CMP_GE_OQ);
    const lanes_f inverse = _mm512_maskz_div_ps(has_scale, broadcast_f32(1), quotient);
    /* 15 for u4 at most, however far the scale was rounded. */
    const lanes_f below = _mm512_max_ps(mul_f(low, inverse), broadcast_f32(-range));
    const lanes_i zero = _mm512_maskz_sub_epi32(has_scale, broadcast_i32(scheme->q_min), _mm512_cvtps_epi32(below));
    store_f(scales, _mm512_maskz_mov_ps(has_scale, quotient));
    _mm_storeu_si128((__m128i *)(void *)zero_points, _mm512_cvtepi32_epi8(zero));
    store_f(encoder->inverse, inverse);
    store_f(encoder->low, to_f32(sub_i32(broadcast_i32(scheme->q_min), zero)));
    store_f(encoder->high, to_f32(sub_i32(broadcast_i32(scheme->q_max), zero)));
    store_i(encoder->zero, zero);
}

KRN_ALWAYS_INLINE void derive_symmetric(const krn_quantize_scheme *scheme, lanes_f magnitudes, uint8_t bias,
                                        float *scales, block_encoder *encoder) {
    const lanes_f quotient = _mm512_div_ps(magnitudes, broadcast_f32(scheme->steps));
    const __mmask16 has_scale = _mm512_cmp_ps_mask(quotient, broadcast_f32(FLT_MIN), _CMP_GE_OQ);
    store_f(scales, _mm512_maskz_mov_ps(has_scale, quotient));
    store_f(encoder->inverse, _mm512_maskz_div_ps(has_scale, broadcast_f32(1), quotient));
    store_f(encoder->low, broadcast_f32((float)scheme->q_min));
    store_f(encoder->high, broadcast_f32((float)scheme->q_max));
    store_i(encoder->zero, broadcast_i32(bias));
}

KRN_ALWAYS_INLINE lanes_i or_i(lanes_i a, lanes_i b) { return _mm512_or_si512(a, b); }

/* Quarter i of four registers side by side in register i. */
KRN_ALWAYS_INLINE void transpose_quarters(lanes_i x[4]) {
    const lanes_i a = _mm512_shuffle_i32x4(x[0], x[1], 0x44), b = _mm512_shuffle_i32x4(x[2], x[3], 0x44);
    const lanes_i c = _mm512_shuffle_i32x4(x[0], x[1], 0xEE), d = _mm512_shuffle_i32x4(x[2], x[3], 0xEE);
    x[0] = _mm512_shuffle_i32x4(a, b, 0x88);
    x[1] = _mm512_shuffle_i32x4(a, b, 0xDD);
    x[2] = _mm512_shuffle_i32x4(c, d, 0x88);
    x[3] = _mm512_shuffle_i32x4(c, d, 0xDD);
}

#endif
