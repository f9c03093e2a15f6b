#include "cuda/emulator/arithmetic.h"

#include <cmath>

namespace emulator {

const HalfFormat F16_FORMAT = {10, -14, 65504.0, krn_f16_to_f32, krn_f32_to_f16};
const HalfFormat BF16_FORMAT = {7, -126, 0x1.FEp127, krn_bf16_to_f32, krn_f32_to_bf16};

/* a + b rounded to odd: what is lost leaves its trace in the last bit, so that the rounding to come, to far fewer bits,
 * rounds as if it had seen the exact sum. */
static double add_to_odd(double a, double b) {
    const double sum = a + b;
    if (!std::isfinite(sum))
        return sum;
    const double b_part = sum - a;
    const double lost = (a - (sum - b_part)) + (b - b_part);
    uint64_t bits;
    __builtin_memcpy(&bits, &sum, sizeof bits);
    if (lost == 0 || (bits & 1) != 0)
        return sum;
    /* An even sum lies between two odd ones; the exact one is on the side of what was lost. */
    return std::nextafter(sum, lost > 0 ? HUGE_VAL : -HUGE_VAL);
}

static uint16_t narrow(double value, const HalfFormat &format) {
    if (std::isfinite(value) && value != 0) {
        const int32_t exponent = std::ilogb(value);
        const int32_t unit = (exponent < format.min_exponent ? format.min_exponent : exponent) - format.fraction_bits;
        value = std::ldexp(std::nearbyint(std::ldexp(value, -unit)), unit);
        if (std::fabs(value) > format.largest)
            value = std::copysign(HUGE_VAL, value);
    }
    return format.narrow_exact(static_cast<float>(value));
}

static uint16_t fma_one(uint16_t a, uint16_t b, uint16_t c, const HalfFormat &format) {
    /* The product is exact in binary64. */
    const double product = static_cast<double>(format.widen(a)) * static_cast<double>(format.widen(b));
    return narrow(add_to_odd(product, static_cast<double>(format.widen(c))), format);
}

uint32_t fma_pair(uint32_t a, uint32_t b, uint32_t c, const HalfFormat &format) {
    const uint16_t low = fma_one(static_cast<uint16_t>(a), static_cast<uint16_t>(b), static_cast<uint16_t>(c), format);
    const uint16_t high =
        fma_one(static_cast<uint16_t>(a >> 16), static_cast<uint16_t>(b >> 16), static_cast<uint16_t>(c >> 16), format);
    return static_cast<uint32_t>(high) << 16 | low;
}

} // namespace emulator
