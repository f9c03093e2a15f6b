/* Groups of keys with AVX-512 F, BW, DQ and VL: the lanes are the 16 tokens of a block, a register is a channel. */
#include "kv_cache/kv_cache_variants.h"

#include "common/simd_avx512.h"
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
