/* One element of a unit of keys or values, as kv_layout.h places it: what the reference reads. */
#ifndef KRN_ATTENTION_CELL_H
#define KRN_ATTENTION_CELL_H

#include "attention/attention_kernel.h"
#include "common/half.h"

/* FP8 E4M3: s eeee mmm, bias 7, subnormals below 2^-6; the largest is 448. Exact. */
KRN_ALWAYS_INLINE float krn_e4m3_to_f32(uint8_t code) {
    const uint32_t sign = (uint32_t)(code & 0x80u) << 24;
    const float magnitude = krn_f32_from_bits((uint32_t)(code & 0x7Fu) << 20) * 0x1p120f;
    return krn_f32_from_bits(sign | krn_f32_bits(magnitude));
}

/* The stored form of an integer code: s8 keys have 128 added, s4 has 8 added. */
KRN_ALWAYS_INLINE int32_t krn_key_code(int32_t type, const uint8_t *unit, int64_t channel, int64_t token) {
    if (type == KRN_TYPE_S8)
        return unit[(channel / 4 * 16 + token) * 4 + channel % 4];
    const uint8_t byte = unit[(channel / 8 * 16 + token) * 4 + channel % 4];
    return channel % 8 < 4 ? byte & 15 : byte >> 4;
}

KRN_ALWAYS_INLINE float krn_key_float(int32_t type, const uint8_t *unit, int64_t channel, int64_t token) {
    if (type == KRN_TYPE_F32)
        return ((const float *)(const void *)unit)[channel * 16 + token];
    if (type == KRN_TYPE_BF16)
        return krn_bf16_to_f32(((const uint16_t *)(const void *)unit)[(channel / 2 * 16 + token) * 2 + channel % 2]);
    return krn_e4m3_to_f32(unit[(channel / 4 * 16 + token) * 4 + channel % 4]);
}

KRN_ALWAYS_INLINE int32_t krn_value_code(int32_t type, const uint8_t *unit, int64_t channels, int64_t channel,
                                         int64_t token) {
    if (type == KRN_TYPE_S8)
        return (int8_t)unit[(token / 4 * channels + channel) * 4 + token % 4];
    const uint8_t byte = unit[(token / 8 * channels + channel) * 4 + token % 4];
    return token % 8 < 4 ? byte & 15 : byte >> 4;
}

KRN_ALWAYS_INLINE float krn_value_float(int32_t type, const uint8_t *unit, int64_t channels, int64_t channel,
                                        int64_t token) {
    if (type == KRN_TYPE_F32)
        return ((const float *)(const void *)unit)[token * channels + channel];
    if (type == KRN_TYPE_BF16)
        return krn_bf16_to_f32(
            ((const uint16_t *)(const void *)unit)[(token / 2 * channels + channel) * 2 + token % 2]);
    return krn_e4m3_to_f32(unit[(token / 4 * channels + channel) * 4 + token % 4]);
}

KRN_ALWAYS_INLINE int krn_is_integer(int32_t type) {
    return type == KRN_TYPE_S8 || type == KRN_TYPE_S4 || type == KRN_TYPE_U4;
}

#endif
