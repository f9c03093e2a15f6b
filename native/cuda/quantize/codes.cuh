/* From values to codes, with the arithmetic of kernels/quantize.h, operation by operation as on the CPU. */
#ifndef KRN_CUDA_CODES_H
#define KRN_CUDA_CODES_H

#include "cuda/common/elements.cuh"
#include "cuda/ptx/arithmetic.h"
#include "cuda/ptx/atomic.h"
#include "cuda/ptx/bits.h"
#include "cuda/quantize/quantize_params.h"
#include "kernels/cuda.h"

namespace kernels {

/* The bits of the largest max(x, 0) and of the largest max(-x, 0). As integers, floats of one sign are in order, with
 * infinity and NaN on top. */
struct Range {
    uint32_t above, below;

    KRN_DEVICE_MEMBER uint32_t magnitude() const { return above > below ? above : below; }
};

KRN_DEVICE uint32_t largest(uint32_t a, uint32_t b) { return a > b ? a : b; }

KRN_DEVICE uint32_t magnitude_bits(float x) { return ptx::bits_as<uint32_t>(x) & 0x7FFFFFFFu; }

KRN_DEVICE bool is_finite(uint32_t magnitude) { return magnitude < 0x7F800000u; }

/* One integer comparison for each side: a float of the other sign is a negative integer. */
KRN_DEVICE void extend(Range &range, float x) {
    const int32_t bits = ptx::bits_as<int32_t>(x);
    const int32_t negated = ptx::bits_as<int32_t>(ptx::bits_as<uint32_t>(x) ^ 0x80000000u);
    range.above = bits > static_cast<int32_t>(range.above) ? static_cast<uint32_t>(bits) : range.above;
    range.below = negated > static_cast<int32_t>(range.below) ? static_cast<uint32_t>(negated) : range.below;
}

/* A scale as it is stored, widened again: at most the largest finite value of its type. */
KRN_DEVICE float round_scale(const krn_cuda_scheme &s, float scale) {
    if (scale < 0x1p-126f)
        return 0;
    if (s.scale_type == KRN_TYPE_F16)
        return ptx::f32_from_f16(scale > 65504.0f ? uint16_t{0x7BFF} : ptx::f16_from_f32_rn(scale));
    if (s.scale_type == KRN_TYPE_BF16) {
        const uint16_t rounded = ptx::bf16_from_f32_rn(scale);
        return ptx::f32_from_bf16(rounded > 0x7F7F ? uint16_t{0x7F7F} : rounded);
    }
    return scale > 0x1.fffffep+127f ? 0x1.fffffep+127f : scale;
}

struct Scale {
    float scale;
    int32_t zero;
};

/* Of a block of finite values. */
KRN_DEVICE Scale derive(const krn_cuda_codes &p, const Range &range) {
    const krn_cuda_scheme &s = p.scheme;
    if (p.is_static)
        return {p.static_scale, p.static_zero_point};
    if (!s.asymmetric) {
        const float kept = ptx::mul_rn(ptx::bits_as<float>(range.magnitude()), s.clip_ratio);
        return {round_scale(s, ptx::div_rn(kept, s.steps)), s.zero};
    }
    const float low = range.below == 0 ? 0.0f : ptx::mul_rn(-ptx::bits_as<float>(range.below), s.clip_ratio);
    const float high = ptx::mul_rn(ptx::bits_as<float>(range.above), s.clip_ratio);
    const int32_t steps = s.q_max - s.q_min;
    const double exact = (static_cast<double>(high) - static_cast<double>(low)) / static_cast<double>(steps);
    const float scale = round_scale(s, static_cast<float>(exact));
    if (scale == 0)
        return {0, s.zero};
    /* A scale that was rounded down may leave more steps below zero than there are codes. */
    const float below = ptx::mul_rn(low, ptx::div_rn(1.0f, scale));
    return {scale, below < static_cast<float>(-steps) ? s.q_max : s.q_min - ptx::s32_from_f32_rn(below)};
}

/* q = rint(clamp(x * inverse, low, high)) + zero. */
struct Encoder {
    float inverse, low, high;
    int32_t zero;
};

KRN_DEVICE Encoder encoder_of(const krn_cuda_scheme &s, const Scale &scale) {
    /* Relative to the zero point; a symmetric range is so already. */
    const int32_t offset = s.asymmetric ? scale.zero : 0;
    return {scale.scale == 0 ? 0.0f : ptx::div_rn(1.0f, scale.scale), ptx::f32_from_s32_rn(s.q_min - offset),
            ptx::f32_from_s32_rn(s.q_max - offset), s.asymmetric ? scale.zero : s.zero};
}

/* The code of x in the low byte. */
KRN_DEVICE uint32_t encode(const krn_cuda_scheme &s, const Encoder &e, float x) {
    const float scaled = ptx::mul_rn(x, e.inverse);
    if (s.is_codebook) {
        uint32_t code = 0;
        KRN_UNROLL_ALL
        for (int32_t i = 0; i < 15; i++)
            code += scaled > s.table[i] ? 1u : 0u;
        return code;
    }
    const float within = ptx::min_f32(ptx::max_f32(scaled, e.low), e.high);
    /* 1.5 * 2^23: the sum is rounded to an integer, to nearest even, that lies in its low bits. Conversions take four
     * times as long. */
    return ptx::bits_as<uint32_t>(ptx::add_rn(within, 0x1.8p+23f)) + static_cast<uint32_t>(e.zero);
}

/* Low bytes of four words. */
KRN_DEVICE uint32_t pack_bytes(uint32_t a, uint32_t b, uint32_t c, uint32_t d) {
    return ptx::prmt(ptx::prmt(a, b, 0x0040), ptx::prmt(c, d, 0x0040), 0x5410);
}

KRN_DEVICE uint32_t encode_quad(const krn_cuda_scheme &s, const Encoder &e, const Quad &x) {
    return pack_bytes(encode(s, e, x.at[0]), encode(s, e, x.at[1]), encode(s, e, x.at[2]), encode(s, e, x.at[3]));
}

/* Codes i..i+3 of a row, of which `count` are there; i is a multiple of four. */
KRN_DEVICE void store_codes(const krn_cuda_codes &p, uint8_t *row, int32_t i, int32_t count, uint32_t codes) {
    if (p.scheme.bits == 8) {
        if (count >= QUAD && p.is_aligned) {
            ptx::store_global(reinterpret_cast<uint32_t *>(row + i), codes);
            return;
        }
        KRN_UNROLL_ALL
        for (int32_t e = 0; e < QUAD; e++)
            if (e < count)
                ptx::store_global(row + i + e, static_cast<uint8_t>(codes >> 8 * e));
        return;
    }
    /* The high nibble behind the last code is 0. */
    codes &= count >= QUAD ? 0x0F0F0F0Fu : 0x0F0F0F0Fu & ((1u << 8 * count) - 1);
    const uint32_t nibbles = codes | codes >> 4;
    if (count >= QUAD && p.is_aligned) {
        ptx::store_global(reinterpret_cast<uint16_t *>(row + i / 2),
                          static_cast<uint16_t>(ptx::prmt(nibbles, 0, 0x20)));
        return;
    }
    ptx::store_global(row + i / 2, static_cast<uint8_t>(nibbles));
    if (count > 2)
        ptx::store_global(row + i / 2 + 1, static_cast<uint8_t>(nibbles >> 16));
}

KRN_DEVICE void store_scale(const krn_cuda_codes &p, int64_t index, const Scale &scale) {
    ptx::store_global(p.scales + index, scale.scale);
    if (p.zero_points != nullptr)
        ptx::store_global(p.zero_points + index, scale.zero);
}

KRN_DEVICE int32_t block_of(const krn_cuda_codes &p, int32_t i) {
    return p.block_shift >= 0 ? i >> p.block_shift : i / p.block;
}

KRN_DEVICE void flag_non_finite(const krn_cuda_codes &p) {
    if (p.device_flags != nullptr)
        ptx::atomic_or(p.device_flags, KRN_CUDA_FLAG_NON_FINITE);
}

} // namespace kernels

#endif
