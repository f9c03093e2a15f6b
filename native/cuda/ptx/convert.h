/* Conversions, with the rounding in the name: rn to nearest even, rz toward zero. 16-bit floats are their bits. */
#ifndef KRN_PTX_CONVERT_H
#define KRN_PTX_CONVERT_H

#include "cuda/ptx/kernel.h"

#if !defined(__CUDACC__)
#include "cuda/emulator/arithmetic.h"
#endif

namespace ptx {

/* Widening bf16 moves bits. */
KRN_DEVICE float f32_from_bf16(uint16_t value) { return bits_as<float>(static_cast<uint32_t>(value) << 16); }
/* The two halves of a register. */
KRN_DEVICE float f32_from_bf16_low(uint32_t pair) { return bits_as<float>(pair << 16); }
KRN_DEVICE float f32_from_bf16_high(uint32_t pair) { return bits_as<float>(pair & 0xFFFF0000u); }

#if defined(__CUDACC__)

KRN_DEVICE float f32_from_f16(uint16_t value) {
    float f;
    asm("cvt.f32.f16 %0, %1;" : "=f"(f) : "h"(value));
    return f;
}

KRN_DEVICE uint16_t f16_from_f32_rn(float value) {
    uint16_t h;
    asm("cvt.rn.f16.f32 %0, %1;" : "=h"(h) : "f"(value));
    return h;
}

KRN_DEVICE uint16_t bf16_from_f32_rn(float value) {
    uint16_t h;
    asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(h) : "f"(value));
    return h;
}

/* Two at once. */
KRN_DEVICE uint32_t f16x2_from_f32_rn(float low, float high) {
    uint32_t pair;
    asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(pair) : "f"(high), "f"(low));
    return pair;
}

KRN_DEVICE uint32_t bf16x2_from_f32_rn(float low, float high) {
    uint32_t pair;
    asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(pair) : "f"(high), "f"(low));
    return pair;
}

/* What does not fit becomes the nearest integer of the type, NaN 0. */
KRN_DEVICE int32_t s32_from_f32_rn(float value) {
    int32_t i;
    asm("cvt.rni.s32.f32 %0, %1;" : "=r"(i) : "f"(value));
    return i;
}

KRN_DEVICE int32_t s32_from_f32_rz(float value) {
    int32_t i;
    asm("cvt.rzi.s32.f32 %0, %1;" : "=r"(i) : "f"(value));
    return i;
}

KRN_DEVICE float f32_from_s32_rn(int32_t value) {
    float f;
    asm("cvt.rn.f32.s32 %0, %1;" : "=f"(f) : "r"(value));
    return f;
}

/* `below` shifted up by 16 bits, with a (low byte) and b as saturated signed bytes under it. */
KRN_DEVICE uint32_t pack_s8_saturated(int32_t a, int32_t b, uint32_t below) {
    uint32_t d;
    asm("cvt.pack.sat.s8.s32.b32 %0, %1, %2, %3;" : "=r"(d) : "r"(b), "r"(a), "r"(below));
    return d;
}

#else

KRN_DEVICE float f32_from_f16(uint16_t value) { return krn_f16_to_f32(value); }
KRN_DEVICE uint16_t f16_from_f32_rn(float value) { return krn_f32_to_f16(value); }
KRN_DEVICE uint16_t bf16_from_f32_rn(float value) { return krn_f32_to_bf16(value); }

KRN_DEVICE uint32_t f16x2_from_f32_rn(float low, float high) {
    return static_cast<uint32_t>(krn_f32_to_f16(high)) << 16 | krn_f32_to_f16(low);
}

KRN_DEVICE uint32_t bf16x2_from_f32_rn(float low, float high) {
    return static_cast<uint32_t>(krn_f32_to_bf16(high)) << 16 | krn_f32_to_bf16(low);
}

KRN_DEVICE int32_t s32_from_f32_rn(float value) { return emulator::s32_from_f32(__builtin_nearbyintf(value)); }
KRN_DEVICE int32_t s32_from_f32_rz(float value) { return emulator::s32_from_f32(__builtin_truncf(value)); }
KRN_DEVICE float f32_from_s32_rn(int32_t value) { return static_cast<float>(value); }

KRN_DEVICE uint32_t pack_s8_saturated(int32_t a, int32_t b, uint32_t below) {
    const uint32_t low = static_cast<uint8_t>(emulator::saturate_s8(a));
    const uint32_t high = static_cast<uint8_t>(emulator::saturate_s8(b));
    return below << 16 | high << 8 | low;
}

#endif

KRN_DEVICE float f32_from_f16_low(uint32_t pair) { return f32_from_f16(static_cast<uint16_t>(pair & 0xFFFF)); }
KRN_DEVICE float f32_from_f16_high(uint32_t pair) { return f32_from_f16(static_cast<uint16_t>(pair >> 16)); }

} // namespace ptx

#endif
