/* Appending with AVX-512 F, BW, DQ and VL. Blocks of 16 tokens are quantized 16 channels of 4 tokens at a time, which
 * is a register of codes, and interleaved in registers; fewer tokens go one by one (kv_cache_rows.h). */
#include "kv_cache/kv_cache_rows.h"

#include "kv_cache/kv_encoder_avx512.h"

/* Channels from..from+15 of a token; behind the last one comes any of them. */
KRN_ALWAYS_INLINE lanes_f channels_of(int32_t type, const krn_kv_rows *rows, int32_t token, int64_t from, int64_t dim) {
    const void *row = row_at(rows, token);
    return dim - from < LANES ? load_rest(type, row, from, dim - from) : load_lanes(type, row, from);
}

static void derive_tokens(const krn_kv_encoding *e, const krn_kv_rows *rows, krn_kv_block block,
                          block_encoder *encoder) {
    _Alignas(64) float lowest[KRN_KV_BLOCK], highest[KRN_KV_BLOCK];
    for (int t = 0; rows->lowest == NULL && t < KRN_KV_BLOCK; t++)
        e->quantize->extents(rows->type, row_at(rows, t), e->head_dim, e->head_dim, &lowest[t], &highest[t]);
    derive_asymmetric(e->scheme, load_f(rows->lowest != NULL ? rows->lowest : lowest),
                      load_f(rows->lowest != NULL ? rows->highest : highest), block.scales, block.zero_points, encoder);
}

static void derive_static(const krn_kv_encoding *e, uint8_t bias, block_encoder *encoder) {
    const krn_block_encoder one = krn_quantize_encoder(e->scheme, e->static_scale, e->static_zero_point);
    store_f(encoder->inverse, broadcast_f32(one.inverse));
    store_f(encoder->low, broadcast_f32(one.low));
    store_f(encoder->high, broadcast_f32(one.high));
    store_i(encoder->zero, broadcast_i32(e->scheme->asymmetric ? one.zero : bias));
}

static void derive(const krn_kv_encoding *e, const krn_kv_rows *rows, uint8_t bias, krn_kv_block block,
                   block_encoder *encoder) {
    if (krn_kv_bits(e->type) > 8)
        return;
    if (e->static_scale > 0)
        derive_static(e, bias, encoder);
    else if (e->scheme->asymmetric)
        derive_tokens(e, rows, block, encoder);
    else
        derive_symmetric(e->scheme, load_f(rows->magnitudes), bias, block.scales, encoder);
}

/* Codes. */

/* As f8.h, of finite numbers. */
KRN_ALWAYS_INLINE lanes_i encode_f8(lanes_f x) {
    const lanes_i sign = and_i(shift_right_i32(as_i(x), 24), broadcast_i32(0x80));
    const lanes_f clamped = _mm512_min_ps(as_f32(magnitude_bits(x)), broadcast_f32(448));
    const lanes_i bits = as_i(clamped);
    const lanes_i odd = and_i(shift_right_i32(bits, 20), broadcast_i32(1));
    const lanes_i offset = broadcast_i32(0x7FFFF - ((127 - 7) << 23));
    const lanes_i normal = shift_right_i32(add_i32(bits, add_i32(odd, offset)), 20);
    /* In units of 2^-9, which is exact. */
    const lanes_i subnormal = _mm512_cvtps_epi32(mul_f(clamped, broadcast_f32(512)));
    const __mmask16 small = _mm512_cmp_ps_mask(clamped, broadcast_f32(0x1p-6f), _CMP_LT_OQ);
    return _mm512_or_si512(sign, _mm512_mask_blend_epi32(small, normal, subnormal));
}

KRN_ALWAYS_INLINE lanes_i encode_lanes(int is_f8, const block_encoder *encoder, int token, lanes_f x) {
    const lanes_f scaled = mul_f(x, broadcast_f32(encoder->inverse[token]));
    if (is_f8)
        return encode_f8(scaled);
    const lanes_f clamped =
        _mm512_min_ps(_mm512_max_ps(scaled, broadcast_f32(encoder->low[token])), broadcast_f32(encoder->high[token]));
    return add_i32(_mm512_cvtps_epi32(clamped), broadcast_i32(encoder->zero[token]));
}

/* 16 channels of tokens 4g..4g+3, a code per byte. Quarter i has channels 4i..4i+3, of each token in a dword of its
 * own. */
KRN_ALWAYS_INLINE lanes_i encode_four(int32_t type, int is_f8, const block_encoder *encoder, const krn_kv_rows *rows,
                                      int g, int64_t from, int64_t dim) {
    lanes_i q[4];
    KRN_UNROLL
    for (int i = 0; i < 4; i++)
        q[i] = encode_lanes(is_f8, encoder, 4 * g + i, channels_of(type, rows, 4 * g + i, from, dim));
    return _mm512_packus_epi16(_mm512_packs_epi32(q[0], q[1]), _mm512_packs_epi32(q[2], q[3]));
}

KRN_ALWAYS_INLINE void key_codes(int32_t type, int is_f8, int is_four_bits, const krn_kv_encoding *e,
                                 const krn_kv_rows *rows, const block_encoder *encoder, const krn_kv_block *block) {
    const int64_t dim = e->head_dim;
    for (int64_t from = 0; from < dim; from += LANES) {
        lanes_i x[4];
        KRN_UNROLL
        for (int g = 0; g < 4; g++)
            x[g] = encode_four(type, is_f8, encoder, rows, g, from, dim);
        transpose_quarters(x);
        const int whole = dim - from >= LANES;
        if (is_four_bits) {
            unsigned char *to = block->codes + from * (KRN_KV_BLOCK / 2);
            put(block, to, or_i(x[0], shift_left_i32(x[1], 4)));
            if (whole)
                put(block, to + 64, or_i(x[2], shift_left_i32(x[3], 4)));
        } else {
            unsigned char *to = block->codes + from * KRN_KV_BLOCK;
            put(block, to, x[0]);
            put(block, to + 64, x[1]);
            if (whole) {
                put(block, to + 128, x[2]);
                put(block, to + 192, x[3]);
            }
        }
    }
}

/* A channel to a dword of 4 tokens. */
KRN_ALWAYS_INLINE lanes_i bytes_of_channels(lanes_i x) {
    return _mm512_shuffle_epi8(
        x, _mm512_broadcast_i32x4(_mm_setr_epi8(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15)));
}

KRN_ALWAYS_INLINE void value_codes(int32_t type, int is_f8, int is_four_bits, uint8_t bias, const krn_kv_encoding *e,
                                   const krn_kv_rows *rows, const block_encoder *encoder, const krn_kv_block *block) {
    const int64_t dim = e->head_dim, row_bytes = 4 * (int64_t)e->value_dim;
    /* s8 is not biased as it is stored. */
    const lanes_i flip = broadcast_i32(bias == 0x80 ? (int32_t)0x80808080 : 0);
    /* The code of 0 in channels that are padding. */
    const lanes_i padding = broadcast_i32(is_four_bits && bias == 8 ? (int32_t)0x88888888 : 0);
    for (int64_t from = 0; from < dim; from += LANES) {
        const __mmask16 channels = dim - from < LANES ? first_lanes(dim - from) : (__mmask16)0xFFFF;
        lanes_i x[4];
        KRN_UNROLL
        for (int g = 0; g < 4; g++)
            x[g] = bytes_of_channels(encode_four(type, is_f8, encoder, rows, g, from, dim));
        unsigned char *to = block->codes + from * 4;
        KRN_UNROLL
        for (int g = 0; g < 4; g += is_four_bits ? 2 : 1) {
            const lanes_i row = is_four_bits ? or_i(x[g], shift_left_i32(x[g + 1], 4)) : _mm512_xor_si512(x[g], flip);
            put(block, to + (is_four_bits ? g / 2 : g) * row_bytes, _mm512_mask_blend_epi32(channels, padding, row));
        }
    }
}

/* Floats. */

KRN_ALWAYS_INLINE __m256i to_bf16(lanes_f x) {
    const lanes_f largest = as_f32(broadcast_i32(0x7F7F0000));
    return narrow_bf16(_mm512_max_ps(_mm512_min_ps(x, largest), sub_f(zero_f(), largest)));
}

/* 16 dwords of 16 tokens: dword i of token t is lane t of register i. */
KRN_ALWAYS_INLINE void transpose(lanes_i x[KRN_KV_BLOCK]) {
    KRN_UNROLL
    for (int t = 0; t < KRN_KV_BLOCK; t += 4) {
        const lanes_i a = _mm512_unpacklo_epi32(x[t], x[t + 1]), b = _mm512_unpackhi_epi32(x[t], x[t + 1]);
        const lanes_i c = _mm512_unpacklo_epi32(x[t + 2], x[t + 3]), d = _mm512_unpackhi_epi32(x[t + 2], x[t + 3]);
        x[t] = _mm512_unpacklo_epi64(a, c);
        x[t + 1] = _mm512_unpackhi_epi64(a, c);
        x[t + 2] = _mm512_unpacklo_epi64(b, d);
        x[t + 3] = _mm512_unpackhi_epi64(b, d);
    }
    /* Quarter i of x[4g + k] has dword 4i + k of tokens 4g..4g+3. */
    lanes_i y[KRN_KV_BLOCK];
    KRN_UNROLL
    for (int k = 0; k < 4; k++) {
        lanes_i quarters[4] = {x[k], x[k + 4], x[k + 8], x[k + 12]};
        transpose_quarters(quarters);
        KRN_UNROLL
        for (int i = 0; i < 4; i++)
            y[4 * i + k] = quarters[i];
    }
    KRN_UNROLL
    for (int i = 0; i < KRN_KV_BLOCK; i++)
        x[i] = y[i];
}

KRN_ALWAYS_INLINE void key_floats(int32_t type, int is_bf16, const krn_kv_encoding *e, const krn_kv_rows *rows,
                                  const krn_kv_block *block) {
    const int64_t dim = e->head_dim, step = is_bf16 ? 2 * LANES : LANES, dwords = is_bf16 ? dim / 2 : dim;
    for (int64_t from = 0; from < dim; from += step) {
        lanes_i x[KRN_KV_BLOCK];
        for (int t = 0; t < KRN_KV_BLOCK; t++) {
            const lanes_f low = channels_of(type, rows, t, from, dim);
            if (!is_bf16) {
                x[t] = as_i(low);
                continue;
            }
            const lanes_f high = from + LANES < dim ? channels_of(type, rows, t, from + LANES, dim) : low;
            x[t] = _mm512_inserti64x4(_mm512_castsi256_si512(to_bf16(low)), to_bf16(high), 1);
        }
        transpose(x);
        const int64_t first = is_bf16 ? from / 2 : from;
        for (int64_t i = 0; i < LANES && first + i < dwords; i++)
            put(block, block->codes + (first + i) * 64, x[i]);
    }
}

KRN_ALWAYS_INLINE void value_floats(int32_t type, int is_bf16, const krn_kv_encoding *e, const krn_kv_rows *rows,
                                    const krn_kv_block *block) {
    const int64_t dim = e->head_dim, row_bytes = 4 * (int64_t)e->value_dim;
    for (int t = 0; t < KRN_KV_BLOCK; t += is_bf16 ? 2 : 1)
        for (int64_t from = 0; from < dim; from += LANES) {
            const __mmask16 channels = dim - from < LANES ? first_lanes(dim - from) : (__mmask16)0xFFFF;
            const lanes_f x = channels_of(type, rows, t, from, dim);
            lanes_i row = as_i(x);
            if (is_bf16) {
                const lanes_i low = _mm512_cvtepu16_epi32(to_bf16(x));
                const lanes_i high = _mm512_cvtepu16_epi32(to_bf16(channels_of(type, rows, t + 1, from, dim)));
                row = or_i(low, shift_left_i32(high, 16));
            }
            put(block, block->codes + (is_bf16 ? t / 2 : t) * row_bytes + from * 4,
                _mm512_maskz_mov_epi32(channels, row));
        }
}

/* What a signed code has added to it so that it is unsigned. */
static uint8_t bias_of(int32_t type) { return krn_kv_key_flip(type); }

KRN_ALWAYS_INLINE void encode_keys(int32_t type, const krn_kv_encoding *e, const krn_kv_rows *rows,
                                   const block_encoder *encoder, const krn_kv_block *block) {
    switch (e->type) {
    case KRN_TYPE_F32: key_floats(type, 0, e, rows, block); break;
    case KRN_TYPE_BF16: key_floats(type, 1, e, rows, block); break;
    case KRN_TYPE_F8E4M3: key_codes(type, 1, 0, e, rows, encoder, block); break;
    case KRN_TYPE_S8: key_codes(type, 0, 0, e, rows, encoder, block); break;
    default: key_codes(type, 0, 1, e, rows, encoder, block); break;
    }
}

KRN_ALWAYS_INLINE void encode_values(int32_t type, const krn_kv_encoding *e, const krn_kv_rows *rows,
                                     const block_encoder *encoder, const krn_kv_block *block) {
    const uint8_t bias = bias_of(e->type);
    switch (e->type) {
    case KRN_TYPE_F32: value_floats(type, 0, e, rows, block); break;
    case KRN_TYPE_BF16: value_floats(type, 1, e, rows, block); break;
    case KRN_TYPE_F8E4M3: value_codes(type, 1, 0, bias, e, rows, encoder, block); break;
    case KRN_TYPE_S8: value_codes(type, 0, 0, bias, e, rows, encoder, block); break;
    default: value_codes(type, 0, 1, bias, e, rows, encoder, block); break;
    }
}

static void store_keys(const krn_kv_encoding *e, krn_kv_rows rows, int32_t first, int32_t count, krn_kv_block block) {
    block_encoder encoder;
    if (count < KRN_KV_BLOCK) {
        store_key_rows(e, rows, first, count, block);
        return;
    }
    /* Streaming stores are of aligned lines. */
    block.stream = block.stream && (uintptr_t)block.codes % 64 == 0;
    derive(e, &rows, bias_of(e->type), block, &encoder);
    switch (rows.type) {
    case KRN_TYPE_F32: encode_keys(KRN_TYPE_F32, e, &rows, &encoder, &block); break;
    case KRN_TYPE_F16: encode_keys(KRN_TYPE_F16, e, &rows, &encoder, &block); break;
    default: encode_keys(KRN_TYPE_BF16, e, &rows, &encoder, &block); break;
    }
}

static void store_values(const krn_kv_encoding *e, krn_kv_rows rows, int32_t first, int32_t count, krn_kv_block block) {
    block_encoder encoder;
    if (count < KRN_KV_BLOCK) {
        store_value_rows(e, rows, first, count, block);
        return;
    }
    /* Streaming stores are of aligned lines. */
    block.stream = block.stream && (uintptr_t)block.codes % 64 == 0;
    derive(e, &rows, bias_of(e->type), block, &encoder);
    switch (rows.type) {
    case KRN_TYPE_F32: encode_values(KRN_TYPE_F32, e, &rows, &encoder, &block); break;
    case KRN_TYPE_F16: encode_values(KRN_TYPE_F16, e, &rows, &encoder, &block); break;
    default: encode_values(KRN_TYPE_BF16, e, &rows, &encoder, &block); break;
    }
}

const krn_kv_kernels krn_kv_cache_avx512 = {
    .name = "avx512",
    .features = KRN_CPU_AVX2 | KRN_CPU_FMA | KRN_CPU_F16C | KRN_CPU_AVX512F | KRN_CPU_AVX512BW | KRN_CPU_AVX512DQ |
                KRN_CPU_AVX512VL,
    .store_keys = store_keys,
    .store_values = store_values,
    .store_group = krn_kv_store_group_avx512,
    .channel_extents = krn_kv_channel_extents_avx512,
    .store_group_rows = krn_kv_store_group_rows_avx512,
};
