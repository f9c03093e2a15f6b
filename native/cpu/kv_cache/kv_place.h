/* Where one element lies in a block of 16 tokens (kv_layout.h), and reading and writing it. `channel` is in
 * 0..head_dim-1, `token` in 0..15, and `value_dim` is that of the layout. Codes are in the form in which they are
 * stored, but for 4 bits each in a byte of its own. */
#ifndef KRN_KV_PLACE_H
#define KRN_KV_PLACE_H

#include "common/half.h"
#include "kv_cache/kv_layout.h"

KRN_ALWAYS_INLINE int64_t krn_kv_key8_at(int64_t channel, int64_t token) {
    return channel / 4 * 64 + token * 4 + channel % 4;
}
KRN_ALWAYS_INLINE int64_t krn_kv_key4_at(int64_t channel, int64_t token) {
    return channel / 8 * 64 + token * 4 + channel % 4;
}
KRN_ALWAYS_INLINE int64_t krn_kv_key16_at(int64_t channel, int64_t token) {
    return (channel / 2 * KRN_KV_BLOCK + token) * 2 + channel % 2;
}
KRN_ALWAYS_INLINE int64_t krn_kv_key32_at(int64_t channel, int64_t token) { return channel * KRN_KV_BLOCK + token; }

KRN_ALWAYS_INLINE int64_t krn_kv_value8_at(int64_t value_dim, int64_t channel, int64_t token) {
    return (token / 4 * value_dim + channel) * 4 + token % 4;
}
KRN_ALWAYS_INLINE int64_t krn_kv_value4_at(int64_t value_dim, int64_t channel, int64_t token) {
    return (token / 8 * value_dim + channel) * 4 + token % 4;
}
KRN_ALWAYS_INLINE int64_t krn_kv_value16_at(int64_t value_dim, int64_t channel, int64_t token) {
    return (token / 2 * value_dim + channel) * 2 + token % 2;
}
KRN_ALWAYS_INLINE int64_t krn_kv_value32_at(int64_t value_dim, int64_t channel, int64_t token) {
    return token * value_dim + channel;
}

/* 4 bits of a byte: the high ones where `high`. */
KRN_ALWAYS_INLINE uint8_t krn_kv_nibble(uint8_t byte, int high) { return high ? byte >> 4 : byte & 15; }
KRN_ALWAYS_INLINE void krn_kv_put_nibble(uint8_t *byte, int high, uint8_t code) {
    *byte = (uint8_t)(high ? (*byte & 0x0F) | (code << 4) : (*byte & 0xF0) | code);
}

/* What turns the two's complement of a code of quantize.h into its stored form, by xor: u8 and u4 keys for signed
 * types, so that the dot products have their unsigned operand. */
KRN_ALWAYS_INLINE uint8_t krn_kv_key_flip(int32_t type) {
    return type == KRN_TYPE_S8 ? 0x80 : type == KRN_TYPE_S4 ? 8 : 0;
}
KRN_ALWAYS_INLINE uint8_t krn_kv_value_flip(int32_t type) { return type == KRN_TYPE_S4 ? 8 : 0; }

/* To nearest even, no further than the largest finite value. */
KRN_ALWAYS_INLINE uint16_t krn_kv_narrow_bf16(float value) {
    const float largest = krn_bf16_to_f32(0x7F7F);
    return krn_f32_to_bf16(value > largest ? largest : value < -largest ? -largest : value);
}

#endif
