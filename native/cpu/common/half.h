/* Scalar conversions between binary32 and the 16-bit floats, by integer arithmetic: the same bits on every machine and
 * under every floating-point mode.
 *
 *   binary16   s eeeee mmmmmmmmmm     bias 15, subnormals below 2^-14, largest 65504
 *   bfloat16   s eeeeeeee mmmmmmm     the upper half of a binary32
 *
 * Widening is exact. Narrowing rounds to nearest even; what rounds past the largest finite value is infinity, and
 * subnormals are produced, not flushed. A NaN stays a NaN of the same sign that keeps the upper bits of its payload.
 * Conversions to and from f16 and to bf16 make it quiet, as the F16C instructions do; widening bf16 moves bits. */
#ifndef KRN_HALF_H
#define KRN_HALF_H

#include "common/portability.h"

#include <stdint.h>
#include <string.h>

KRN_ALWAYS_INLINE uint32_t krn_f32_bits(float value) {
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

KRN_ALWAYS_INLINE float krn_f32_from_bits(uint32_t bits) {
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

/* Drops the low `shift` bits (1..31) of a magnitude, to nearest even. A carry runs into the exponent, as it should. */
KRN_ALWAYS_INLINE uint32_t krn_round_shift(uint32_t magnitude, uint32_t shift) {
    const uint32_t half = UINT32_C(1) << (shift - 1);
    const uint32_t odd = (magnitude >> shift) & 1;
    return (magnitude + (half - 1) + odd) >> shift;
}

KRN_ALWAYS_INLINE float krn_f16_to_f32(uint16_t half) {
    const uint32_t sign = (uint32_t)(half & 0x8000u) << 16;
    uint32_t exponent = (half >> 10) & 0x1Fu;
    uint32_t fraction = half & 0x3FFu;
    if (exponent == 0x1F) {
        const uint32_t quiet = fraction != 0 ? UINT32_C(0x400000) : 0;
        return krn_f32_from_bits(sign | UINT32_C(0x7F800000) | quiet | (fraction << 13));
    }
    if (exponent == 0) {
        if (fraction == 0)
            return krn_f32_from_bits(sign);
        /* A subnormal has no hidden bit: move its leading bit there. exponent may wrap below 0 on the way; the sum
         * with the difference of the biases is positive again. */
        exponent = 1;
        while ((fraction & 0x400u) == 0) {
            fraction <<= 1;
            exponent--;
        }
        fraction &= 0x3FFu;
    }
    return krn_f32_from_bits(sign | ((exponent + (127 - 15)) << 23) | (fraction << 13));
}

KRN_ALWAYS_INLINE uint16_t krn_f32_to_f16(float value) {
    const uint32_t bits = krn_f32_bits(value);
    const uint32_t sign = (bits >> 16) & 0x8000u;
    const uint32_t magnitude = bits & UINT32_C(0x7FFFFFFF);
    uint32_t half;
    if (magnitude > UINT32_C(0x7F800000)) { /* NaN */
        half = 0x7E00u | ((magnitude >> 13) & 0x1FFu);
    } else if (magnitude >= UINT32_C(0x47800000)) { /* 2^16 and above */
        half = 0x7C00u;
    } else if (magnitude >= UINT32_C(0x38800000)) { /* 2^-14: normal; 65520 and above carry into infinity */
        half = krn_round_shift(magnitude - ((uint32_t)(127 - 15) << 23), 13);
    } else if (magnitude >= UINT32_C(0x33000000)) { /* 2^-25: a subnormal, counted in units of 2^-24 */
        const uint32_t exponent = magnitude >> 23;
        half = krn_round_shift((magnitude & UINT32_C(0x7FFFFF)) | UINT32_C(0x800000), 126 - exponent);
    } else {
        half = 0;
    }
    return (uint16_t)(sign | half);
}

KRN_ALWAYS_INLINE float krn_bf16_to_f32(uint16_t half) { return krn_f32_from_bits((uint32_t)half << 16); }

KRN_ALWAYS_INLINE uint16_t krn_f32_to_bf16(float value) {
    const uint32_t bits = krn_f32_bits(value);
    if ((bits & UINT32_C(0x7FFFFFFF)) > UINT32_C(0x7F800000))
        return (uint16_t)((bits >> 16) | 0x40u);
    return (uint16_t)krn_round_shift(bits, 16);
}

#endif
