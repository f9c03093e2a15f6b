/* Groups of keys where a register has fewer lanes than a block has tokens: a channel is KRN_KV_BLOCK / LANES
 * registers of the including file's lanes. kv_group_avx512.c is the same on whole blocks. */
#ifndef KRN_KV_GROUP_LANES_H
#define KRN_KV_GROUP_LANES_H

#include "kv_cache/kv_cache_variants.h"
#include "kv_cache/kv_place.h"

enum { PARTS = KRN_KV_BLOCK / LANES };

KRN_ALWAYS_INLINE lanes_f load_channel(const float *tail, int32_t dim, int32_t block, int32_t channel, int32_t part) {
    return load_f(tail + ((int64_t)block * dim + channel) * KRN_KV_BLOCK + part * LANES);
}

static void extents_of(const float *tail, int32_t dim, int32_t blocks, int32_t channel, int symmetric, float *lowest,
                       float *highest) {
    const lanes_i magnitude = broadcast_i32(symmetric ? 0x7FFFFFFF : -1);
    lanes_f low = load_channel(tail, dim, 0, channel, 0), high = as_f32(and_i(as_i(low), magnitude));
    for (int32_t b = 0; b < blocks; b++) {
        for (int32_t p = 0; p < PARTS; p++) {
            const lanes_f x = load_channel(tail, dim, b, channel, p);
            low = lower_f(low, x);
            high = higher_f(high, as_f32(and_i(as_i(x), magnitude)));
        }
    }
    float lows[LANES], highs[LANES];
    store_f(lows, low);
    store_f(highs, high);
    *lowest = lows[0];
    *highest = highs[0];
    for (int32_t i = 1; i < LANES; i++) {
        *lowest = lows[i] < *lowest ? lows[i] : *lowest;
        *highest = highs[i] > *highest ? highs[i] : *highest;
    }
}

KRN_ALWAYS_INLINE lanes_i encode_channel(const krn_block_encoder *e, int32_t bias, lanes_f x) {
    const lanes_f clamped =
        lower_f(higher_f(mul_f(x, broadcast_f32(e->inverse)), broadcast_f32(e->low)), broadcast_f32(e->high));
    return add_i32(round_i32(clamped), broadcast_i32(e->zero + bias));
}

static void store_group(const krn_kv_encoding *e, const float *tail, int32_t blocks, unsigned char *codes,
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
            unsigned char *to = codes + ((int64_t)b * dim / per_dword + from / per_dword) * KRN_KV_BLOCK * 4;
            for (int32_t p = 0; p < PARTS; p++) {
                lanes_i dwords = broadcast_i32(0);
                for (int32_t i = 0; i < per_dword; i++) {
                    const lanes_i q = encode_channel(&encoders[i], bias, load_channel(tail, dim, b, from + i, p));
                    dwords = or_i(dwords, shift_left_i32(q, bits == 8 ? i * 8 : i % 4 * 8 + i / 4 * 4));
                }
                store_i(to + p * LANES * 4, dwords);
            }
        }
    }
}

#endif
