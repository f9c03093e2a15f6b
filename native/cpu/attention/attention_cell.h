/* One element of a unit of keys or values, where kv_layout.h places it: what the reference reads. */
#ifndef KRN_ATTENTION_CELL_H
#define KRN_ATTENTION_CELL_H

#include "attention/attention_kernel.h"
#include "common/f8.h"
#include "kv_cache/kv_place.h"

KRN_ALWAYS_INLINE int krn_is_integer(int32_t type) {
    return type == KRN_TYPE_S8 || type == KRN_TYPE_S4 || type == KRN_TYPE_U4;
}

/* An integer code as it is stored: s8 keys have 128 added, s4 has 8 added. */
KRN_ALWAYS_INLINE int32_t krn_key_code(int32_t type, const uint8_t *unit, int64_t channel, int64_t token) {
    if (type == KRN_TYPE_S8)
        return unit[krn_kv_key8_at(channel, token)];
    return krn_kv_nibble(unit[krn_kv_key4_at(channel, token)], channel % 8 >= 4);
}

KRN_ALWAYS_INLINE float krn_key_float(int32_t type, const uint8_t *unit, int64_t channel, int64_t token) {
    if (type == KRN_TYPE_F32)
        return ((const float *)(const void *)unit)[krn_kv_key32_at(channel, token)];
    if (type == KRN_TYPE_BF16)
        return krn_bf16_to_f32(((const uint16_t *)(const void *)unit)[krn_kv_key16_at(channel, token)]);
    return krn_f8_to_f32(unit[krn_kv_key8_at(channel, token)]);
}

KRN_ALWAYS_INLINE int32_t krn_value_code(int32_t type, const uint8_t *unit, int64_t channels, int64_t channel,
                                         int64_t token) {
    if (type == KRN_TYPE_S8)
        return (int8_t)unit[krn_kv_value8_at(channels, channel, token)];
    return krn_kv_nibble(unit[krn_kv_value4_at(channels, channel, token)], token % 8 >= 4);
}

KRN_ALWAYS_INLINE float krn_value_float(int32_t type, const uint8_t *unit, int64_t channels, int64_t channel,
                                        int64_t token) {
    if (type == KRN_TYPE_F32)
        return ((const float *)(const void *)unit)[krn_kv_value32_at(channels, channel, token)];
    if (type == KRN_TYPE_BF16)
        return krn_bf16_to_f32(((const uint16_t *)(const void *)unit)[krn_kv_value16_at(channels, channel, token)]);
    return krn_f8_to_f32(unit[krn_kv_value8_at(channels, channel, token)]);
}

#endif
