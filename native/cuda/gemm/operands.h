/* Operands of the integer matrix instruction: unpacking codes, and turning sums into floats. Device code. */
#ifndef KRN_CUDA_GEMM_OPERANDS_H
#define KRN_CUDA_GEMM_OPERANDS_H

#include "cuda/gemm/gemm_params.h"
#include "cuda/ptx/bits.h"
#include "cuda/ptx/convert.h"
#include "cuda/ptx/memory.h"
#include "kernels/common.h"

/* Before a loop whose length is not known, but whose turns can overlap. */
#if defined(__CUDACC__)
#define KRN_UNROLL_8 _Pragma("unroll 8")
#else
#define KRN_UNROLL_8
#endif

namespace gemm {

/* Both matrices a of a 4-bit unit (weights_layout.h) from the words of a lane. s4: 16 times the codes, in three
 * instructions for eight of them. */
KRN_DEVICE void unpack_s4(uint32_t low_rows, uint32_t high_rows, uint32_t (&a)[4]) {
    constexpr uint32_t UPPER = 0xF0F0F0F0u;
    a[0] = (low_rows << 4) & UPPER;
    a[1] = (high_rows << 4) & UPPER;
    a[2] = low_rows & UPPER;
    a[3] = high_rows & UPPER;
}

/* Four codes of u4 less their zero point, which stands in every byte of `zeros`. The bit above each code keeps a borrow
 * in its byte. */
KRN_DEVICE uint32_t subtract_zeros(uint32_t codes, uint32_t zeros) {
    constexpr uint32_t TOP = 0x80808080u;
    const uint32_t raised = ptx::lop3<(ptx::LUT_A & ptx::LUT_B) | ptx::LUT_C>(codes, 0x0F0F0F0Fu, TOP);
    return (raised - zeros) ^ TOP;
}

KRN_DEVICE void unpack_u4(uint32_t low_rows, uint32_t high_rows, uint32_t low_zeros, uint32_t high_zeros,
                          uint32_t (&a)[4]) {
    a[0] = subtract_zeros(low_rows, low_zeros);
    a[1] = subtract_zeros(high_rows, high_zeros);
    a[2] = subtract_zeros(low_rows >> 4, low_zeros);
    a[3] = subtract_zeros(high_rows >> 4, high_zeros);
}

/* A zero point in every byte. */
KRN_DEVICE uint32_t spread_zero(uint8_t zero) { return ptx::prmt(zero, 0, 0); }

/* By how many bits sums are too high. */
template <int32_t format> constexpr int32_t SUM_SHIFT = format == KRN_TYPE_S4 ? 4 : 0;

/* Sums of short groups become floats without a conversion, for which a multiprocessor has few units: a sum that starts
 * at the bits of 1.5 * 2^23, whose last bit counts 1, stays in the same binade as long as it is at most 2^22 in
 * magnitude, so its bits are a float that differs from 1.5 * 2^23 by the sum. Where sums are 16 times too high, the
 * float is 1.5 * 2^19, whose last bit counts 1/16. Exact, like the conversion, since such sums fit 24 bits. */
template <int32_t format> constexpr int32_t FLOAT_START = format == KRN_TYPE_S4 ? 0x49400000 : 0x4B400000;
template <int32_t format> constexpr float FLOAT_START_VALUE = format == KRN_TYPE_S4 ? 786432.0f : 12582912.0f;

/* A scale of any type as f32. */
KRN_DEVICE float load_scale(const void *scales, int32_t type, int64_t index) {
    if (type == KRN_TYPE_F32)
        return ptx::load_global_nc(static_cast<const float *>(scales) + index);
    const uint16_t half = ptx::load_global_nc(static_cast<const uint16_t *>(scales) + index);
    return type == KRN_TYPE_F16 ? ptx::f32_from_f16(half) : ptx::f32_from_bf16(half);
}

KRN_DEVICE float load_shared_scale(ptx::SharedAddress scales, int32_t type, int32_t index) {
    if (type == KRN_TYPE_F32)
        return ptx::load_shared<float>(scales + 4 * static_cast<uint32_t>(index));
    const uint16_t half = ptx::load_shared<uint16_t>(scales + 2 * static_cast<uint32_t>(index));
    return type == KRN_TYPE_F16 ? ptx::f32_from_f16(half) : ptx::f32_from_bf16(half);
}

KRN_DEVICE int32_t scale_bytes(int32_t type) { return type == KRN_TYPE_F32 ? 4 : 2; }

KRN_DEVICE int32_t clamp(int32_t value, int32_t low, int32_t high) {
    return value < low ? low : value > high ? high : value;
}

} // namespace gemm

#endif
