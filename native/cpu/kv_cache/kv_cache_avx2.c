/* Appending with AVX2, FMA and F16C. Blocks of 16 tokens are quantized 8 channels of 4 tokens at a time, which is a
 * register of codes, and interleaved in registers; floats and fewer tokens go one by one (kv_cache_rows.h). */
#include "kv_cache/kv_cache_rows.h"

#include "common/lanes_avx2.h"
#include "kv_cache/kv_group_lanes.h"

#include <float.h>

/* How the 16 tokens of a block become codes: q = rint(clamp(x * inverse, low, high)) + zero, in the stored form. */
typedef struct {
    float inverse[KRN_KV_BLOCK];
    float low[KRN_KV_BLOCK];
    float high[KRN_KV_BLOCK];
    int32_t zero[KRN_KV_BLOCK];
} block_encoder;

/* Scales, in loops that the compiler makes vectors of. `bias` is what a signed code has added to it so that it is
 * unsigned. */
static void derive_symmetric(const krn_kv_encoding *e, const float *magnitudes, uint8_t bias, float *scales,
                             block_encoder *encoder) {
    const float steps = e->scheme->steps;
    for (int t = 0; t < KRN_KV_BLOCK; t++) {
        const float quotient = magnitudes[t] / steps;
        scales[t] = quotient < FLT_MIN ? 0 : quotient;
        encoder->inverse[t] = quotient < FLT_MIN ? 0 : 1.0f / quotient;
        encoder->low[t] = (float)e->scheme->q_min;
        encoder->high[t] = (float)e->scheme->q_max;
        encoder->zero[t] = bias;
    }
}

static void derive(const krn_kv_encoding *e, const krn_kv_rows *rows, uint8_t bias, krn_kv_block block,
                   block_encoder *encoder) {
    if (has_own_scale(e) && !e->scheme->asymmetric) {
        derive_symmetric(e, rows->magnitudes, bias, block.scales, encoder);
        return;
    }
    for (int t = 0; t < KRN_KV_BLOCK; t++) {
        stored_row row;
        derive_row(e, rows, t, &row);
        const krn_block_encoder one = krn_quantize_encoder(e->scheme, row.scale, row.zero_point);
        encoder->inverse[t] = one.inverse;
        encoder->low[t] = one.low;
        encoder->high[t] = one.high;
        encoder->zero[t] = e->scheme->asymmetric ? one.zero : bias;
        if (has_own_scale(e)) {
            block.scales[t] = row.scale;
            block.zero_points[t] = (uint8_t)row.zero_point;
        }
    }
}

/* As f8.h, of finite numbers. */
KRN_ALWAYS_INLINE lanes_i encode_f8(lanes_f x) {
    const lanes_i bits = _mm256_castps_si256(x);
    const lanes_i sign = and_i(shift_right_i32(bits, 24), broadcast_i32(0x80));
    const lanes_f clamped = _mm256_min_ps(as_f32(and_i(bits, broadcast_i32(0x7FFFFFFF))), broadcast_f32(448));
    const lanes_i magnitude = _mm256_castps_si256(clamped);
    const lanes_i odd = and_i(shift_right_i32(magnitude, 20), broadcast_i32(1));
    const lanes_i offset = broadcast_i32(0x7FFFF - ((127 - 7) << 23));
    const lanes_i normal = shift_right_i32(add_i32(magnitude, add_i32(odd, offset)), 20);
    /* In units of 2^-9, which is exact. */
    const lanes_i subnormal = _mm256_cvtps_epi32(mul_f(clamped, broadcast_f32(512)));
    const lanes_f small = _mm256_cmp_ps(clamped, broadcast_f32(0x1p-6f), _CMP_LT_OQ);
    return or_i(sign, _mm256_castps_si256(_mm256_blendv_ps(as_f32(normal), as_f32(subnormal), small)));
}

KRN_ALWAYS_INLINE lanes_i encode_lanes(int is_f8, const block_encoder *encoder, int token, lanes_f x) {
    const lanes_f scaled = mul_f(x, broadcast_f32(encoder->inverse[token]));
    if (is_f8)
        return encode_f8(scaled);
    const lanes_f clamped =
        _mm256_min_ps(_mm256_max_ps(scaled, broadcast_f32(encoder->low[token])), broadcast_f32(encoder->high[token]));
    return add_i32(_mm256_cvtps_epi32(clamped), broadcast_i32(encoder->zero[token]));
}

/* 8 channels of tokens 4g..4g+3, a code per byte. Half i has channels 4i..4i+3, of each token in a dword of its own. */
KRN_ALWAYS_INLINE lanes_i encode_four(int32_t type, int is_f8, const block_encoder *encoder, const krn_kv_rows *rows,
                                      int g, int64_t from) {
    lanes_i q[4];
    KRN_UNROLL
    for (int i = 0; i < 4; i++)
        q[i] = encode_lanes(is_f8, encoder, 4 * g + i, load_lanes(type, row_at(rows, 4 * g + i), from));
    return _mm256_packus_epi16(_mm256_packs_epi32(q[0], q[1]), _mm256_packs_epi32(q[2], q[3]));
}

KRN_ALWAYS_INLINE void store_half(unsigned char *to, __m128i x) { _mm_storeu_si128((__m128i *)(void *)to, x); }

KRN_ALWAYS_INLINE void key_codes(int32_t type, int is_f8, int is_four_bits, const krn_kv_encoding *e,
                                 const krn_kv_rows *rows, const block_encoder *encoder, unsigned char *codes) {
    for (int64_t from = 0; from < e->head_dim; from += LANES) {
        unsigned char *to = codes + from * (is_four_bits ? KRN_KV_BLOCK / 2 : KRN_KV_BLOCK);
        KRN_UNROLL
        for (int g = 0; g < 4; g++) {
            const lanes_i x = encode_four(type, is_f8, encoder, rows, g, from);
            const __m128i low = _mm256_castsi256_si128(x), high = _mm256_extracti128_si256(x, 1);
            if (is_four_bits) {
                store_half(to + g * 16, _mm_or_si128(low, _mm_slli_epi32(high, 4)));
            } else {
                store_half(to + g * 16, low);
                store_half(to + g * 16 + 64, high);
            }
        }
    }
}

/* A channel to a dword of 4 tokens. */
KRN_ALWAYS_INLINE lanes_i bytes_of_channels(lanes_i x) {
    return _mm256_shuffle_epi8(
        x, _mm256_broadcastsi128_si256(_mm_setr_epi8(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15)));
}

KRN_ALWAYS_INLINE void value_codes(int32_t type, int is_f8, int is_four_bits, uint8_t bias, const krn_kv_encoding *e,
                                   const krn_kv_rows *rows, const block_encoder *encoder, unsigned char *codes) {
    const int64_t row_bytes = 4 * (int64_t)e->value_dim;
    /* s8 is not biased as it is stored. */
    const lanes_i flip = broadcast_i32(bias == 0x80 ? (int32_t)0x80808080 : 0);
    /* The code of 0 in channels that are padding. */
    const lanes_i padding = broadcast_i32(is_four_bits && bias == 8 ? (int32_t)0x88888888 : 0);
    for (int64_t from = 0; from < e->head_dim; from += LANES) {
        lanes_i x[4];
        KRN_UNROLL
        for (int g = 0; g < 4; g++)
            x[g] = bytes_of_channels(encode_four(type, is_f8, encoder, rows, g, from));
        unsigned char *to = codes + from * 4;
        KRN_UNROLL
        for (int g = 0; g < 4; g += is_four_bits ? 2 : 1)
            store_i(to + (is_four_bits ? g / 2 : g) * row_bytes,
                    is_four_bits ? or_i(x[g], shift_left_i32(x[g + 1], 4)) : _mm256_xor_si256(x[g], flip));
    }
    for (int row = 0; e->head_dim < e->value_dim && row < (is_four_bits ? 2 : 4); row++)
        store_i(codes + row * row_bytes + (int64_t)e->head_dim * 4, padding);
}

KRN_ALWAYS_INLINE void encode_keys(int32_t type, const krn_kv_encoding *e, const krn_kv_rows *rows,
                                   const block_encoder *encoder, unsigned char *codes) {
    switch (e->type) {
    case KRN_TYPE_F8E4M3: key_codes(type, 1, 0, e, rows, encoder, codes); break;
    case KRN_TYPE_S8: key_codes(type, 0, 0, e, rows, encoder, codes); break;
    default: key_codes(type, 0, 1, e, rows, encoder, codes); break;
    }
}

KRN_ALWAYS_INLINE void encode_values(int32_t type, const krn_kv_encoding *e, const krn_kv_rows *rows,
                                     const block_encoder *encoder, unsigned char *codes) {
    const uint8_t bias = krn_kv_key_flip(e->type);
    switch (e->type) {
    case KRN_TYPE_F8E4M3: value_codes(type, 1, 0, bias, e, rows, encoder, codes); break;
    case KRN_TYPE_S8: value_codes(type, 0, 0, bias, e, rows, encoder, codes); break;
    default: value_codes(type, 0, 1, bias, e, rows, encoder, codes); break;
    }
}

static void store_keys(const krn_kv_encoding *e, krn_kv_rows rows, int32_t first, int32_t count, krn_kv_block block) {
    block_encoder encoder;
    if (count < KRN_KV_BLOCK || krn_kv_bits(e->type) > 8) {
        store_key_rows(e, rows, first, count, block);
        return;
    }
    derive(e, &rows, krn_kv_key_flip(e->type), block, &encoder);
    switch (rows.type) {
    case KRN_TYPE_F32: encode_keys(KRN_TYPE_F32, e, &rows, &encoder, block.codes); break;
    case KRN_TYPE_F16: encode_keys(KRN_TYPE_F16, e, &rows, &encoder, block.codes); break;
    default: encode_keys(KRN_TYPE_BF16, e, &rows, &encoder, block.codes); break;
    }
}

static void store_values(const krn_kv_encoding *e, krn_kv_rows rows, int32_t first, int32_t count, krn_kv_block block) {
    block_encoder encoder;
    if (count < KRN_KV_BLOCK || krn_kv_bits(e->type) > 8) {
        store_value_rows(e, rows, first, count, block);
        return;
    }
    derive(e, &rows, krn_kv_key_flip(e->type), block, &encoder);
    switch (rows.type) {
    case KRN_TYPE_F32: encode_values(KRN_TYPE_F32, e, &rows, &encoder, block.codes); break;
    case KRN_TYPE_F16: encode_values(KRN_TYPE_F16, e, &rows, &encoder, block.codes); break;
    default: encode_values(KRN_TYPE_BF16, e, &rows, &encoder, block.codes); break;
    }
}

const krn_kv_kernels krn_kv_cache_avx2 = {
    .name = "avx2",
    .features = KRN_CPU_AVX2 | KRN_CPU_FMA | KRN_CPU_F16C,
    .store_keys = store_keys,
    .store_values = store_values,
    .store_group = store_group,
};
