/* half.h against the definition of the formats, and against the F16C instructions where the machine has them. */
#include "check.h"

#include "common/half.h"

#include <math.h>
#if defined(KRN_X86_64)
#include <immintrin.h>
#endif

/* A 16-bit float with `fraction_bits` bits of fraction, by the definition. */
static double value_of(uint16_t half, int fraction_bits) {
    const int exponent_bits = 15 - fraction_bits;
    const int bias = (1 << (exponent_bits - 1)) - 1;
    const int exponent = (half & 0x7FFF) >> fraction_bits;
    const int fraction = half & ((1 << fraction_bits) - 1);
    double magnitude;
    if (exponent == (1 << exponent_bits) - 1)
        magnitude = fraction == 0 ? INFINITY : NAN;
    else if (exponent == 0)
        magnitude = ldexp(fraction, 1 - bias - fraction_bits);
    else
        magnitude = ldexp(fraction + (1 << fraction_bits), exponent - bias - fraction_bits);
    return half & 0x8000 ? -magnitude : magnitude;
}

static int same(double a, double b) { return isnan(a) ? isnan(b) : a == b && signbit(a) == signbit(b); }

static void widens_every_value(void) {
    for (uint32_t i = 0; i <= UINT16_MAX; i++) {
        const uint16_t half = (uint16_t)i;
        const float f16 = krn_f16_to_f32(half), bf16 = krn_bf16_to_f32(half);
        CHECK(same((double)f16, value_of(half, 10)), "f16 %04x gave %a", i, (double)f16);
        CHECK(same((double)bf16, value_of(half, 7)), "bf16 %04x gave %a", i, (double)bf16);
        if (isnan(f16)) {
            CHECK(krn_f32_to_f16(f16) == (half | 0x200), "f16 NaN %04x does not come back quiet", i);
            CHECK(krn_f32_to_bf16(bf16) == (half | (isnan(bf16) ? 0x40 : 0)), "bf16 %04x does not come back", i);
        } else {
            CHECK(krn_f32_to_f16(f16) == half, "f16 %04x does not come back", i);
        }
        if (!isnan(bf16))
            CHECK(krn_f32_to_bf16(bf16) == half, "bf16 %04x does not come back", i);
    }
}

/* Between two neighbours, the nearer one; at the middle the even one. `above` may be infinity, which then stands for
 * the next power of two. */
static void narrows_to_nearest(uint16_t below, int fraction_bits, uint16_t (*narrow)(float)) {
    const double low = value_of(below, fraction_bits);
    double high = value_of((uint16_t)(below + 1), fraction_bits);
    if (isinf(high))
        high = low + (low - value_of((uint16_t)(below - 1), fraction_bits));
    const float middle = (float)(low + (high - low) / 2);
    if (isinf(middle) || (double)middle == low || (double)middle == high)
        return; /* The middle is not a binary32. */
    const uint16_t even = (uint16_t)(below + (below & 1)), above = (uint16_t)(below + 1);
    CHECK(narrow(middle) == even, "%a gave %04x, not %04x", (double)middle, narrow(middle), even);
    CHECK(narrow(nextafterf(middle, 0)) == below, "below the middle above %04x", below);
    CHECK(narrow(nextafterf(middle, INFINITY)) == above, "above the middle above %04x", below);
    CHECK(narrow(-middle) == (even | 0x8000), "%a gave %04x", (double)-middle, narrow(-middle));
}

static uint16_t to_f16(float value) { return krn_f32_to_f16(value); }
static uint16_t to_bf16(float value) { return krn_f32_to_bf16(value); }

#if defined(KRN_X86_64)
KRN_COMPILED_FOR("f16c") static uint16_t instruction_to_f16(float value) {
    return (uint16_t)_cvtss_sh(value, 0 /* to nearest */);
}

KRN_COMPILED_FOR("f16c") static float instruction_to_f32(uint16_t half) { return _cvtsh_ss(half); }

static void agrees_with_instructions(void) {
    for (uint32_t i = 0; i <= UINT16_MAX; i++) {
        const uint16_t half = (uint16_t)i;
        CHECK(krn_f32_bits(krn_f16_to_f32(half)) == krn_f32_bits(instruction_to_f32(half)), "f16 %04x", i);
    }
    test_random random = {.state = 1};
    for (int i = 0; i < 4000000; i++) {
        uint32_t bits = (uint32_t)random_next(&random);
        /* Half of the values around the range of f16, where rounding happens. */
        if (i % 2 == 0)
            bits = (bits & UINT32_C(0x807FFFFF)) | (uint32_t)random_between(&random, 95, 145) << 23;
        const float value = krn_f32_from_bits(bits);
        CHECK(krn_f32_to_f16(value) == instruction_to_f16(value), "f32 %08x gave %04x, the instruction %04x", bits,
              krn_f32_to_f16(value), instruction_to_f16(value));
    }
}
#endif

int main(void) {
    widens_every_value();
    for (uint16_t below = 0; below < 0x7C00; below++)
        narrows_to_nearest(below, 10, to_f16);
    for (uint16_t below = 0; below < 0x7F80; below++)
        narrows_to_nearest(below, 7, to_bf16);
    CHECK(krn_f32_to_f16(1e30f) == 0x7C00 && krn_f32_to_f16(-INFINITY) == 0xFC00, "f16 infinity");
    CHECK(krn_f32_to_f16(65519.996f) == 0x7BFF && krn_f32_to_f16(65520.0f) == 0x7C00, "f16 overflow");
    CHECK(krn_f32_to_bf16(INFINITY) == 0x7F80 && krn_f32_to_bf16(3.4028235e38f) == 0x7F80, "bf16 overflow");
    CHECK(krn_f32_to_f16(-0.0f) == 0x8000 && krn_f32_to_bf16(-0.0f) == 0x8000, "signed zero");
#if defined(KRN_X86_64)
    if (krn_cpu_features() & KRN_CPU_F16C)
        agrees_with_instructions();
    else
        puts("half: this machine has no F16C to compare with");
#endif
    puts("half: ok");
    return 0;
}
