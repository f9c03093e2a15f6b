/* Groups of keys with AVX-512 F, BW, DQ and VL. From the tail the lanes are the 16 tokens of a block, a register is a
 * channel; straight from rows the lanes are 16 channels, a register is a token. */
#include "kv_cache/kv_encoder_avx512.h"
#include "kv_cache/kv_place.h"

KRN_ALWAYS_INLINE zmm_f load_channel(const float *tail, int32_t dim, int32_t block, int32_t channel) {
    return load_f(tail + ((int64_t)block * dim + channel) * KRN_KV_BLOCK);
}

static void extents_of(const float *tail, int32_t dim, int32_t blocks, int32_t channel, int symmetric, float *lowest,
                       float *highest) {
    const zmm_i magnitude = broadcast_i32(symmetric ? 0x7FFFFFFF : -1);
    zmm_f low = load_channel(tail, dim, 0, channel), high = as_f32(and_i(as_i(low), magnitude));
    for (int32_t b = 1; b < blocks; b++) {
        const zmm_f x = load_channel(tail, dim, b, channel);
        low = _mm512_min_ps(low, x);
        high = _mm512_max_ps(high, as_f32(and_i(as_i(x), magnitude)));
    }
    *lowest = _mm512_reduce_min_ps(low);
    *highest = _mm512_reduce_max_ps(high);
}

KRN_ALWAYS_INLINE zmm_i encode_channel(const krn_block_encoder *e, int32_t bias, zmm_f x) {
    const zmm_f clamped = _mm512_min_ps(_mm512_max_ps(mul_f(x, broadcast_f32(e->inverse)), broadcast_f32(e->low)),
                                        broadcast_f32(e->high));
    return add_i32(_mm512_cvtps_epi32(clamped), broadcast_i32(e->zero + bias));
}

void krn_kv_store_group_avx512(const krn_kv_encoding *e, const float *tail, int32_t blocks, unsigned char *codes,
                               float *scales, uint8_t *zero_points) {
    const int32_t dim = e->head_dim, bits = krn_kv_bits(e->type), per_dword = 32 / bits;
    /* What a signed code has added to it so that it is unsigned. */
    const int32_t bias = krn_kv_key_flip(e->type);
    float lowest[KRN_KV_MAX_HEAD_DIM], highest[KRN_KV_MAX_HEAD_DIM];
    int32_t zeros[KRN_KV_MAX_HEAD_DIM];
    for (int32_t c = 0; c < dim; c++)
        extents_of(tail, dim, blocks, c, !e->scheme->asymmetric, &lowest[c], &highest[c]);
    krn_quantize_derive(e->scheme, dim, lowest, highest, scales, zeros);
    for (int32_t c = 0; c < dim && e->type == KRN_TYPE_U4; c++)
        zero_points[c] = (uint8_t)zeros[c];
    for (int32_t from = 0; from < dim; from += per_dword) {
        krn_block_encoder encoders[8];
        for (int32_t i = 0; i < per_dword; i++)
            encoders[i] = krn_quantize_encoder(e->scheme, scales[from + i], zeros[from + i]);
        for (int32_t b = 0; b < blocks; b++) {
            zmm_i dwords = _mm512_setzero_si512();
            for (int32_t i = 0; i < per_dword; i++) {
                const zmm_i q = encode_channel(&encoders[i], bias, load_channel(tail, dim, b, from + i));
                const int shift = bits == 8 ? i * 8 : i % 4 * 8 + i / 4 * 4;
                dwords = _mm512_or_si512(dwords, _mm512_sll_epi32(q, _mm_cvtsi32_si128(shift)));
            }
            store_i(codes + ((int64_t)b * dim / per_dword + from / per_dword) * 64, dwords);
        }
    }
}

/* From 0 on, which every range of codes contains. */
KRN_ALWAYS_INLINE int32_t channel_extents(int32_t type, const krn_kv_rows *rows, int32_t count, int64_t channels,
                                          int symmetric, float *lowest, float *highest) {
    zmm_i worst = broadcast_i32(0);
    for (int64_t c = 0; c < channels; c += LANES) {
        store_f(lowest + c, zero_f());
        store_f(highest + c, zero_f());
    }
    for (int32_t t = 0; t < count; t++) {
        const unsigned char *row = (const unsigned char *)rows->first + t * rows->ld_bytes;
        for (int64_t c = 0; symmetric && c < channels; c += LANES)
            store_i(highest + c, higher_bits(load_i(highest + c), magnitude_bits(load_lanes(type, row, c))));
        for (int64_t c = 0; !symmetric && c < channels; c += LANES) {
            const zmm_f x = load_lanes(type, row, c);
            store_f(lowest + c, _mm512_min_ps(load_f(lowest + c), x));
            store_f(highest + c, _mm512_max_ps(load_f(highest + c), x));
            worst = higher_bits(worst, magnitude_bits(x));
        }
    }
    for (int64_t c = 0; symmetric && c < channels; c += LANES)
        worst = higher_bits(worst, load_i(highest + c));
    return highest_bits(worst) <= FLT_MAX;
}

int32_t krn_kv_channel_extents_avx512(const krn_kv_rows *rows, int32_t count, int64_t channels, int symmetric,
                                      float *lowest, float *highest) {
    switch (rows->type) {
    case KRN_TYPE_F32: return channel_extents(KRN_TYPE_F32, rows, count, channels, symmetric, lowest, highest);
    case KRN_TYPE_F16: return channel_extents(KRN_TYPE_F16, rows, count, channels, symmetric, lowest, highest);
    default: return channel_extents(KRN_TYPE_BF16, rows, count, channels, symmetric, lowest, highest);
    }
}

/* 16 channels of 16 tokens. */
KRN_ALWAYS_INLINE void store_channels(int32_t type, int is_four_bits, const block_encoder *encoder,
                                      const unsigned char *rows, int64_t ld_bytes, int64_t from,
                                      const krn_kv_block *block) {
    const zmm_f inverse = load_f(encoder->inverse), low = load_f(encoder->low), high = load_f(encoder->high);
    const zmm_i zero = load_i(encoder->zero);
    zmm_i x[4];
    KRN_UNROLL
    for (int g = 0; g < 4; g++) {
        zmm_i q[4];
        KRN_UNROLL
        for (int i = 0; i < 4; i++) {
            const zmm_f scaled = mul_f(load_lanes(type, rows + (4 * g + i) * ld_bytes, from), inverse);
            q[i] = add_i32(_mm512_cvtps_epi32(_mm512_min_ps(_mm512_max_ps(scaled, low), high)), zero);
        }
        x[g] = _mm512_packus_epi16(_mm512_packs_epi32(q[0], q[1]), _mm512_packs_epi32(q[2], q[3]));
    }
    transpose_quarters(x);
    if (is_four_bits) {
        unsigned char *to = block->codes + from * (KRN_KV_BLOCK / 2);
        put(block, to, or_i(x[0], shift_left_i32(x[1], 4)));
        put(block, to + 64, or_i(x[2], shift_left_i32(x[3], 4)));
        return;
    }
    KRN_UNROLL
    for (int i = 0; i < 4; i++)
        put(block, block->codes + from * KRN_KV_BLOCK + i * 64, x[i]);
}

KRN_ALWAYS_INLINE void store_rows(int32_t type, int is_four_bits, const krn_kv_encoding *e, const krn_kv_rows *rows,
                                  int32_t blocks, const float *lowest, const float *highest,
                                  const krn_kv_block *group) {
    const int64_t dim = e->head_dim, block_bytes = dim * KRN_KV_BLOCK / (is_four_bits ? 2 : 1);
    for (int64_t from = 0; from < dim; from += LANES) {
        block_encoder encoder;
        if (e->scheme->asymmetric)
            derive_asymmetric(e->scheme, load_f(lowest + from), load_f(highest + from), group->scales + from,
                              group->zero_points + from, &encoder);
        else
            derive_symmetric(e->scheme, load_f(highest + from), krn_kv_key_flip(e->type), group->scales + from,
                             &encoder);
        for (int32_t b = 0; b < blocks; b++) {
            krn_kv_block block = *group;
            block.codes += b * block_bytes;
            store_channels(type, is_four_bits, &encoder,
                           (const unsigned char *)rows->first + b * KRN_KV_BLOCK * rows->ld_bytes, rows->ld_bytes, from,
                           &block);
        }
    }
}

void krn_kv_store_group_rows_avx512(const krn_kv_encoding *e, const krn_kv_rows *rows, int32_t blocks,
                                    const float *lowest, const float *highest, krn_kv_block group) {
    const int is_four_bits = krn_kv_bits(e->type) == 4;
    group.stream = group.stream && (uintptr_t)group.codes % 64 == 0;
    switch (rows->type * 2 + is_four_bits) {
    case KRN_TYPE_F32 * 2: store_rows(KRN_TYPE_F32, 0, e, rows, blocks, lowest, highest, &group); break;
    case KRN_TYPE_F32 * 2 + 1: store_rows(KRN_TYPE_F32, 1, e, rows, blocks, lowest, highest, &group); break;
    case KRN_TYPE_F16 * 2: store_rows(KRN_TYPE_F16, 0, e, rows, blocks, lowest, highest, &group); break;
    case KRN_TYPE_F16 * 2 + 1: store_rows(KRN_TYPE_F16, 1, e, rows, blocks, lowest, highest, &group); break;
    case KRN_TYPE_BF16 * 2: store_rows(KRN_TYPE_BF16, 0, e, rows, blocks, lowest, highest, &group); break;
    default: store_rows(KRN_TYPE_BF16, 1, e, rows, blocks, lowest, highest, &group); break;
    }
}
