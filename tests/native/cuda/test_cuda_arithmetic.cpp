/* Instructions on bits and floats, each result against its definition. */
#include "cuda_device.h"

#include "common/half.h"
#include "cuda/common/context.h"
#include "cuda/ptx/arithmetic.h"
#include "cuda/ptx/bits.h"
#include "cuda/ptx/convert.h"
#include "cuda/ptx/memory.h"

#include <cmath>
#include <cstring>
#include <vector>

namespace {

constexpr int32_t OPS = 24, COUNT = 4096;

struct Params {
    const uint32_t *a, *b, *c;
    uint32_t *out; /* [OPS][COUNT] */
};

KRN_DEVICE float as_float(uint32_t bits) { return ptx::bits_as<float>(bits); }
KRN_DEVICE uint32_t as_bits(float value) { return ptx::bits_as<uint32_t>(value); }

} // namespace

KRN_KERNEL(every_operation, Params, 256, 1) {
    const int32_t i = ptx::block_x() * ptx::block_threads() + ptx::thread_x();
    const uint32_t a = ptx::load_global(p.a + i), b = ptx::load_global(p.b + i), c = ptx::load_global(p.c + i);
    const uint32_t results[OPS] = {
        ptx::lop3<(ptx::LUT_A & ptx::LUT_B) | ptx::LUT_C>(a, b, c),
        ptx::lop3<0x1B>(a, b, c),
        ptx::prmt(a, b, c & 0xFFFF),
        static_cast<uint32_t>(ptx::dp4a(a, b, static_cast<int32_t>(c))),
        static_cast<uint32_t>(ptx::dp4a_u8s8(a, b, static_cast<int32_t>(c))),
        ptx::funnel_shift_left(a, b, c),
        ptx::funnel_shift_right(a, b, c),
        static_cast<uint32_t>(ptx::popcount(a)),
        static_cast<uint32_t>(ptx::count_leading_zeros(a & b & c)),
        static_cast<uint32_t>(ptx::find_first_set(a & b & c)),
        as_bits(ptx::fma_rn(as_float(a), as_float(b), as_float(c))),
        as_bits(ptx::div_rn(as_float(a), as_float(b))),
        as_bits(ptx::sqrt_rn(ptx::abs_f32(as_float(a)))),
        ptx::f16x2_from_f32_rn(as_float(a), as_float(b)),
        ptx::bf16x2_from_f32_rn(as_float(a), as_float(b)),
        static_cast<uint32_t>(ptx::s32_from_f32_rn(as_float(a))),
        static_cast<uint32_t>(ptx::s32_from_f32_rz(as_float(a))),
        as_bits(ptx::f32_from_s32_rn(static_cast<int32_t>(a))),
        ptx::pack_s8_saturated(static_cast<int32_t>(a) >> 22, static_cast<int32_t>(b) >> 22, c),
        ptx::fma_f16x2(a, b, c),
        ptx::add_f16x2(a, b),
        ptx::sub_f16x2(a, b),
        ptx::mul_f16x2(a, b),
        ptx::fma_bf16x2(a, b, c),
    };
    for (int32_t op = 0; op < OPS; op++)
        ptx::store_global(p.out + op * COUNT + i, results[op]);
}

namespace {

/* The nearest half to an exact sum, found among the neighbours of a guess. */
uint16_t nearest_half(long double exact, bool is_f16) {
    const auto widen = [&](uint32_t bits) {
        return static_cast<long double>(is_f16 ? krn_f16_to_f32(static_cast<uint16_t>(bits))
                                               : krn_bf16_to_f32(static_cast<uint16_t>(bits)));
    };
    const uint32_t sign = std::signbit(exact) ? 0x8000 : 0, top = is_f16 ? 0x7C00 : 0x7F80;
    const long double magnitude = std::fabs(exact);
    if (std::isinf(magnitude))
        return static_cast<uint16_t>(sign | top);
    uint32_t below = 0;
    for (uint32_t bit = 0x4000; bit != 0; bit >>= 1)
        if ((below | bit) < top && widen(below | bit) <= magnitude)
            below |= bit;
    /* What lies as far behind the last number as the one before lies before it counts as infinity. */
    const long double low = widen(below), high = below + 1 < top ? widen(below + 1) : 2 * low - widen(below - 1);
    const bool up = magnitude - low > high - magnitude || (magnitude - low == high - magnitude && (below & 1) != 0);
    return static_cast<uint16_t>(sign | (below + (up ? 1 : 0)));
}

uint32_t fma_halves(uint32_t a, uint32_t b, uint32_t c, bool is_f16, bool *is_nan) {
    uint32_t both = 0;
    for (int32_t shift = 0; shift < 32; shift += 16) {
        const auto widen = [&](uint32_t pair) {
            const auto half = static_cast<uint16_t>(pair >> shift);
            return static_cast<long double>(is_f16 ? krn_f16_to_f32(half) : krn_bf16_to_f32(half));
        };
        const long double product = widen(a) * widen(b), sum = product + widen(c);
        /* What the sum has lost of the smaller addend decides on which side of a tie it is. */
        const long double smaller = std::fabs(product) < std::fabs(widen(c)) ? product : widen(c);
        const long double lost = smaller - (sum - (smaller == product ? widen(c) : product));
        const long double exact = std::isfinite(sum) && lost != 0 ? std::nextafter(sum, lost * HUGE_VALL) : sum;
        *is_nan = *is_nan || std::isnan(exact);
        both |= static_cast<uint32_t>(nearest_half(exact, is_f16)) << shift;
    }
    return both;
}

int32_t saturated(double value) {
    return std::isnan(value)        ? 0
           : value >= 2147483647.0  ? INT32_MAX
           : value <= -2147483648.0 ? INT32_MIN
                                    : static_cast<int32_t>(value);
}

uint32_t bits_of(float value) { return krn_f32_bits(value); }

/* The definition; false where the result is a NaN, of which only that is fixed. */
bool expected(int32_t op, uint32_t a, uint32_t b, uint32_t c, uint32_t *result) {
    const float x = krn_f32_from_bits(a), y = krn_f32_from_bits(b), z = krn_f32_from_bits(c);
    const uint64_t both = static_cast<uint64_t>(b) << 32 | a;
    const auto byte = [](uint32_t word, int32_t i) { return word >> (8 * i) & 0xFF; };
    uint32_t r = 0;
    bool is_nan = false;
    float f = 0;
    switch (op) {
    case 0: r = (a & b) | c; break;
    case 1:
        for (uint32_t i = 0; i < 32; i++)
            r |= (0x1Bu >> ((a >> i & 1) * 4 + (b >> i & 1) * 2 + (c >> i & 1)) & 1) << i;
        break;
    case 2:
        for (int32_t i = 0; i < 4; i++) {
            const uint32_t nibble = c >> (4 * i) & 15,
                           chosen = static_cast<uint32_t>(both >> (8 * (nibble & 7))) & 0xFF;
            r |= (nibble < 8 ? chosen : chosen >= 128 ? 0xFFu : 0u) << (8 * i);
        }
        break;
    case 3:
    case 4:
        r = c;
        for (int32_t i = 0; i < 4; i++) {
            const int32_t left = op == 3 ? static_cast<int8_t>(byte(a, i)) : static_cast<int32_t>(byte(a, i));
            r += static_cast<uint32_t>(left * static_cast<int8_t>(byte(b, i)));
        }
        break;
    case 5: r = c % 32 == 0 ? b : b << c % 32 | a >> (32 - c % 32); break;
    case 6: r = c % 32 == 0 ? a : a >> c % 32 | b << (32 - c % 32); break;
    case 7:
        for (uint32_t i = 0; i < 32; i++)
            r += a >> i & 1;
        break;
    case 8:
        while (r < 32 && ((a & b & c) >> (31 - r) & 1) == 0)
            r++;
        break;
    case 9:
        while (r < 32 && ((a & b & c) >> r & 1) == 0)
            r++;
        r = r == 32 ? UINT32_MAX : r;
        break;
    case 10: f = std::fma(x, y, z), r = bits_of(f), is_nan = std::isnan(f); break;
    case 11: f = x / y, r = bits_of(f), is_nan = std::isnan(f); break;
    case 12: f = std::sqrt(std::fabs(x)), r = bits_of(f), is_nan = std::isnan(f); break;
    case 13:
        r = static_cast<uint32_t>(krn_f32_to_f16(y)) << 16 | krn_f32_to_f16(x);
        is_nan = std::isnan(x) || std::isnan(y);
        break;
    case 14:
        r = static_cast<uint32_t>(krn_f32_to_bf16(y)) << 16 | krn_f32_to_bf16(x);
        is_nan = std::isnan(x) || std::isnan(y);
        break;
    case 15: r = static_cast<uint32_t>(saturated(std::nearbyint(static_cast<double>(x)))); break;
    case 16: r = static_cast<uint32_t>(saturated(std::trunc(static_cast<double>(x)))); break;
    case 17: r = bits_of(static_cast<float>(static_cast<int32_t>(a))); break;
    case 18: {
        const auto clamp = [](uint32_t v) {
            return std::fmax(-128.0, std::fmin(127.0, static_cast<int32_t>(v) >> 22));
        };
        const uint32_t low = static_cast<uint8_t>(static_cast<int32_t>(clamp(a)));
        const uint32_t high = static_cast<uint8_t>(static_cast<int32_t>(clamp(b)));
        r = c << 16 | high << 8 | low;
        break;
    }
    case 19: r = fma_halves(a, b, c, true, &is_nan); break;
    case 20: r = fma_halves(a, 0x3C003C00, b, true, &is_nan); break;
    case 21: r = fma_halves(b, 0xBC00BC00, a, true, &is_nan); break;
    case 22: r = fma_halves(a, b, 0x80008000, true, &is_nan); break;
    default: r = fma_halves(a, b, c, false, &is_nan); break;
    }
    *result = r;
    return !is_nan;
}

/* Any bits; small integers and halves of them as floats; 16-bit floats of about one, whose sums need rounding. */
uint32_t operand(test_random &random, int32_t i) {
    const auto bits = static_cast<uint32_t>(random_next(&random));
    switch (i % 4) {
    case 0: return bits;
    case 1: return krn_f32_bits(static_cast<float>(static_cast<int32_t>(bits % 2048) - 1024) / 2);
    case 2: return (bits & 0x87FF87FF) | 0x38003800;
    default: return bits & 0x83FF83FF;
    }
}

} // namespace

int main() {
    test_random random = {1};
    krn_cuda_context *const context = cuda_context_of(KRN_CUDA_CLASS_AUTO);
    std::vector<uint32_t> inputs[3], out(static_cast<size_t>(OPS * COUNT));
    for (std::vector<uint32_t> &input : inputs)
        for (int32_t i = 0; i < COUNT; i++)
            input.push_back(operand(random, i / 64 % 5 == 4 ? i : i / 64));
    const auto upload = [&](const std::vector<uint32_t> &v) {
        return static_cast<const uint32_t *>(cuda_copy_of(context, v.data(), COUNT * 4));
    };
    const Params params = {upload(inputs[0]), upload(inputs[1]), upload(inputs[2]),
                           static_cast<uint32_t *>(cuda_allocate(context, static_cast<int64_t>(out.size() * 4)))};
    const uint32_t blocks[3] = {COUNT / 256, 1, 1};
    CHECK_OK(krn_cuda_run(context, "every_operation", blocks, 256, 0, &params, sizeof params, nullptr));
    cuda_read(context, out.data(), params.out, static_cast<int64_t>(out.size() * 4));
    for (int32_t op = 0; op < OPS; op++)
        for (int32_t i = 0; i < COUNT; i++) {
            const auto at = static_cast<size_t>(i);
            const uint32_t actual = out[static_cast<size_t>(op * COUNT + i)];
            uint32_t value;
            if (expected(op, inputs[0][at], inputs[1][at], inputs[2][at], &value))
                CHECK(actual == value, "operation %d of %08x, %08x, %08x is %08x, expected %08x", op, inputs[0][at],
                      inputs[1][at], inputs[2][at], actual, value);
        }
    cuda_free_all(context);
    krn_cuda_context_destroy(context);
    return 0;
}
