/* Elements of float tensors (f32, f16, bf16), four at a time: what one thread takes of a row in one step, so that a
 * warp reads and writes 128 consecutive elements. `type` is KRN_TYPE_F32, KRN_TYPE_F16 or KRN_TYPE_BF16. */
#ifndef KRN_CUDA_ELEMENTS_H
#define KRN_CUDA_ELEMENTS_H

#include "cuda/ptx/convert.h"
#include "cuda/ptx/memory.h"
#include "kernels/common.h"

namespace kernels {

constexpr int32_t QUAD = 4;

struct Quad {
    float at[QUAD];
};

template <int32_t type> constexpr int32_t ELEMENT_BYTES = type == KRN_TYPE_F32 ? 4 : 2;

template <int32_t type> KRN_DEVICE float widen(uint16_t bits) {
    return type == KRN_TYPE_F16 ? ptx::f32_from_f16(bits) : ptx::f32_from_bf16(bits);
}

template <int32_t type> KRN_DEVICE Quad widen(ptx::U32x2 bits) {
    if constexpr (type == KRN_TYPE_F16)
        return {{ptx::f32_from_f16_low(bits.x), ptx::f32_from_f16_high(bits.x), ptx::f32_from_f16_low(bits.y),
                 ptx::f32_from_f16_high(bits.y)}};
    else
        return {{ptx::f32_from_bf16_low(bits.x), ptx::f32_from_bf16_high(bits.x), ptx::f32_from_bf16_low(bits.y),
                 ptx::f32_from_bf16_high(bits.y)}};
}

KRN_DEVICE Quad quad_of(ptx::U32x4 bits) {
    return {{ptx::bits_as<float>(bits.x), ptx::bits_as<float>(bits.y), ptx::bits_as<float>(bits.z),
             ptx::bits_as<float>(bits.w)}};
}

KRN_DEVICE ptx::U32x4 bits_of(const Quad &q) {
    return {ptx::bits_as<uint32_t>(q.at[0]), ptx::bits_as<uint32_t>(q.at[1]), ptx::bits_as<uint32_t>(q.at[2]),
            ptx::bits_as<uint32_t>(q.at[3])};
}

/* To nearest even. */
template <int32_t type> KRN_DEVICE uint16_t narrow(float value) {
    return type == KRN_TYPE_F16 ? ptx::f16_from_f32_rn(value) : ptx::bf16_from_f32_rn(value);
}

template <int32_t type> KRN_DEVICE ptx::U32x2 narrow(const Quad &q) {
    if constexpr (type == KRN_TYPE_F16)
        return {ptx::f16x2_from_f32_rn(q.at[0], q.at[1]), ptx::f16x2_from_f32_rn(q.at[2], q.at[3])};
    else
        return {ptx::bf16x2_from_f32_rn(q.at[0], q.at[1]), ptx::bf16x2_from_f32_rn(q.at[2], q.at[3])};
}

/* Element i of a row. */
template <int32_t type> KRN_DEVICE float load_element(const void *row, int64_t i) {
    if constexpr (type == KRN_TYPE_F32)
        return ptx::load_global(static_cast<const float *>(row) + i);
    else
        return widen<type>(ptx::load_global(static_cast<const uint16_t *>(row) + i));
}

template <int32_t type> KRN_DEVICE void store_element(void *row, int64_t i, float value) {
    if constexpr (type == KRN_TYPE_F32)
        ptx::store_global(static_cast<float *>(row) + i, value);
    else
        ptx::store_global(static_cast<uint16_t *>(row) + i, narrow<type>(value));
}

/* Elements i..i+3 of a row, of which `count` are there (others are 0); `is_aligned` when they can be loaded at once. */
template <int32_t type> KRN_DEVICE Quad load_quad(const void *row, int64_t i, int32_t count, bool is_aligned) {
    if (is_aligned && count >= QUAD) {
        if constexpr (type == KRN_TYPE_F32)
            return quad_of(ptx::load_global(reinterpret_cast<const ptx::U32x4 *>(static_cast<const float *>(row) + i)));
        else
            return widen<type>(
                ptx::load_global(reinterpret_cast<const ptx::U32x2 *>(static_cast<const uint16_t *>(row) + i)));
    }
    Quad q;
    KRN_UNROLL_ALL
    for (int32_t e = 0; e < QUAD; e++)
        q.at[e] = e < count ? load_element<type>(row, i + e) : 0.0f;
    return q;
}

template <int32_t type>
KRN_DEVICE void store_quad(void *row, int64_t i, int32_t count, bool is_aligned, const Quad &q) {
    if (is_aligned && count >= QUAD) {
        if constexpr (type == KRN_TYPE_F32)
            ptx::store_global(reinterpret_cast<ptx::U32x4 *>(static_cast<float *>(row) + i), bits_of(q));
        else
            ptx::store_global(reinterpret_cast<ptx::U32x2 *>(static_cast<uint16_t *>(row) + i), narrow<type>(q));
        return;
    }
    KRN_UNROLL_ALL
    for (int32_t e = 0; e < QUAD; e++)
        if (e < count)
            store_element<type>(row, i + e, q.at[e]);
}

/* Elements i..i+7 of a row, of which `count` are there; 16 bytes at a time where `is_aligned`. */
template <int32_t type>
KRN_DEVICE void load_octet(const void *row, int64_t i, int32_t count, bool is_aligned, Quad &low, Quad &high) {
    if constexpr (type != KRN_TYPE_F32) {
        if (is_aligned && count >= 2 * QUAD) {
            const auto bits =
                ptx::load_global(reinterpret_cast<const ptx::U32x4 *>(static_cast<const uint16_t *>(row) + i));
            low = widen<type>(ptx::U32x2{bits.x, bits.y});
            high = widen<type>(ptx::U32x2{bits.z, bits.w});
            return;
        }
    }
    low = load_quad<type>(row, i, count, is_aligned);
    high = load_quad<type>(row, i + QUAD, count - QUAD, is_aligned);
}

template <int32_t type>
KRN_DEVICE void store_octet(void *row, int64_t i, int32_t count, bool is_aligned, const Quad &low, const Quad &high) {
    if constexpr (type != KRN_TYPE_F32) {
        if (is_aligned && count >= 2 * QUAD) {
            const ptx::U32x2 a = narrow<type>(low), b = narrow<type>(high);
            ptx::store_global(reinterpret_cast<ptx::U32x4 *>(static_cast<uint16_t *>(row) + i),
                              ptx::U32x4{a.x, a.y, b.x, b.y});
            return;
        }
    }
    store_quad<type>(row, i, count, is_aligned, low);
    store_quad<type>(row, i + QUAD, count - QUAD, is_aligned, high);
}

/* Quads where the type is known at run time only, as that of weights and targets is: every thread of a launch takes
 * the same branch. */
KRN_DEVICE Quad load_quad_of(int32_t type, const void *row, int64_t i, int32_t count, bool is_aligned) {
    switch (type) {
    case KRN_TYPE_F32: return load_quad<KRN_TYPE_F32>(row, i, count, is_aligned);
    case KRN_TYPE_F16: return load_quad<KRN_TYPE_F16>(row, i, count, is_aligned);
    default: return load_quad<KRN_TYPE_BF16>(row, i, count, is_aligned);
    }
}

KRN_DEVICE void store_quad_of(int32_t type, void *row, int64_t i, int32_t count, bool is_aligned, const Quad &q) {
    switch (type) {
    case KRN_TYPE_F32: store_quad<KRN_TYPE_F32>(row, i, count, is_aligned, q); break;
    case KRN_TYPE_F16: store_quad<KRN_TYPE_F16>(row, i, count, is_aligned, q); break;
    default: store_quad<KRN_TYPE_BF16>(row, i, count, is_aligned, q); break;
    }
}

} // namespace kernels

#endif
