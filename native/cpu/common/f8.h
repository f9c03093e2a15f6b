/* Scalar conversions between binary32 and OCP FP8 E4M3 (OFP8, 2023), by integer arithmetic.
 *
 *   s eeee mmm     bias 7, subnormals in units of 2^-9 below 2^-6, largest 448 (0x7E); 0x7F and 0xFF are NaN, and there
 *                  are no infinities
 *
 * Widening is exact. Narrowing rounds to nearest even, produces subnormals and saturates: what is beyond 448, infinity
 * too, becomes 448. A NaN stays a NaN of the same sign. */
#ifndef KRN_F8_H
#define KRN_F8_H

#include "common/half.h"

KRN_ALWAYS_INLINE float krn_f8_to_f32(uint8_t code) {
    const uint32_t sign = (uint32_t)(code & 0x80u) << 24;
    const uint32_t magnitude = code & 0x7Fu;
    if (magnitude == 0x7Fu)
        return krn_f32_from_bits(sign | UINT32_C(0x7FC00000));
    if (magnitude >= 8)
        return krn_f32_from_bits(sign | ((magnitude + ((127 - 7) << 3)) << 20));
    const float subnormal = (float)magnitude * 0x1p-9f;
    return krn_f32_from_bits(sign | krn_f32_bits(subnormal));
}

KRN_ALWAYS_INLINE uint8_t krn_f32_to_f8(float value) {
    const uint32_t bits = krn_f32_bits(value);
    const uint32_t sign = (bits >> 24) & 0x80u;
    const uint32_t magnitude = bits & UINT32_C(0x7FFFFFFF);
    uint32_t code;
    if (magnitude > UINT32_C(0x7F800000)) { /* NaN */
        code = 0x7F;
    } else if (magnitude >= UINT32_C(0x43E00000)) { /* 448 and above */
        code = 0x7E;
    } else if (magnitude >= UINT32_C(0x3C800000)) { /* 2^-6: normal; what rounds past 448 was dealt with */
        code = krn_round_shift(magnitude - ((uint32_t)(127 - 7) << 23), 20);
    } else if (magnitude >= UINT32_C(0x3A800000)) { /* 2^-10: a subnormal, counted in units of 2^-9, or 2^-6 */
        const uint32_t exponent = magnitude >> 23;
        code = krn_round_shift((magnitude & UINT32_C(0x7FFFFF)) | UINT32_C(0x800000), 141 - exponent);
    } else {
        code = 0;
    }
    return (uint8_t)(sign | code);
}

#endif
