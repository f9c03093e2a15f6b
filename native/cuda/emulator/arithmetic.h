/* Arithmetic that the host has no instruction for. */
#ifndef KRN_EMULATOR_ARITHMETIC_H
#define KRN_EMULATOR_ARITHMETIC_H

#include "common/half.h"

#include <stdint.h>

namespace emulator {

/* An integral float as the device converts it: saturated, NaN is 0. */
inline int32_t s32_from_f32(float value) {
    if (!(value == value))
        return 0;
    if (value >= 2147483648.0f)
        return INT32_MAX;
    return value < -2147483648.0f ? INT32_MIN : static_cast<int32_t>(value);
}

inline int32_t saturate_s8(int32_t value) { return value < -128 ? -128 : value > 127 ? 127 : value; }

/* A 16-bit float format, and how to get to binary64 and back with one rounding. */
struct HalfFormat {
    int32_t fraction_bits, min_exponent;
    double largest;
    float (*widen)(uint16_t);
    uint16_t (*narrow_exact)(float);
};
extern const HalfFormat F16_FORMAT, BF16_FORMAT;

/* a b + c of both halves, rounded once. */
uint32_t fma_pair(uint32_t a, uint32_t b, uint32_t c, const HalfFormat &format);

} // namespace emulator

#endif
