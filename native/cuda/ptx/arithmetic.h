/* Float arithmetic. Kernels are compiled without contraction (-fmad=false), so that +, - and * of floats round each by
 * itself as they do on the CPU; the names here are for where a reader should see it, and for what C++ has no sign
 * for. */
#ifndef KRN_PTX_ARITHMETIC_H
#define KRN_PTX_ARITHMETIC_H

#include "cuda/ptx/kernel.h"

#if !defined(__CUDACC__)
#include "cuda/emulator/arithmetic.h"

#include <cmath>
#endif

namespace ptx {

#if defined(__CUDACC__)

KRN_DEVICE float add_rn(float a, float b) { return __fadd_rn(a, b); }
KRN_DEVICE float sub_rn(float a, float b) { return __fsub_rn(a, b); }
KRN_DEVICE float mul_rn(float a, float b) { return __fmul_rn(a, b); }
KRN_DEVICE float fma_rn(float a, float b, float c) { return __fmaf_rn(a, b, c); }
KRN_DEVICE float div_rn(float a, float b) { return __fdiv_rn(a, b); }
KRN_DEVICE float sqrt_rn(float a) { return __fsqrt_rn(a); }
/* The number, when one operand is NaN. */
KRN_DEVICE float max_f32(float a, float b) { return fmaxf(a, b); }
KRN_DEVICE float min_f32(float a, float b) { return fminf(a, b); }
KRN_DEVICE float abs_f32(float a) { return fabsf(a); }

/* An approximation of the special function unit; the emulator rounds the exact value, so tests must allow for the
 * difference, 2^-22 (absolute). */
KRN_DEVICE float lg2_approx(float a) {
    float d;
    asm("lg2.approx.f32 %0, %1;" : "=f"(d) : "f"(a));
    return d;
}

/* Two 16-bit floats in a register; one rounding each. */
KRN_DEVICE uint32_t add_f16x2(uint32_t a, uint32_t b) {
    uint32_t d;
    asm("add.rn.f16x2 %0, %1, %2;" : "=r"(d) : "r"(a), "r"(b));
    return d;
}
KRN_DEVICE uint32_t sub_f16x2(uint32_t a, uint32_t b) {
    uint32_t d;
    asm("sub.rn.f16x2 %0, %1, %2;" : "=r"(d) : "r"(a), "r"(b));
    return d;
}
KRN_DEVICE uint32_t mul_f16x2(uint32_t a, uint32_t b) {
    uint32_t d;
    asm("mul.rn.f16x2 %0, %1, %2;" : "=r"(d) : "r"(a), "r"(b));
    return d;
}
KRN_DEVICE uint32_t fma_f16x2(uint32_t a, uint32_t b, uint32_t c) {
    uint32_t d;
    asm("fma.rn.f16x2 %0, %1, %2, %3;" : "=r"(d) : "r"(a), "r"(b), "r"(c));
    return d;
}
/* sm_80 has no other arithmetic on bf16x2: a sum is a product with 1, a product a sum with -0. */
KRN_DEVICE uint32_t fma_bf16x2(uint32_t a, uint32_t b, uint32_t c) {
    uint32_t d;
    asm("fma.rn.bf16x2 %0, %1, %2, %3;" : "=r"(d) : "r"(a), "r"(b), "r"(c));
    return d;
}

#else

KRN_DEVICE float add_rn(float a, float b) { return a + b; }
KRN_DEVICE float sub_rn(float a, float b) { return a - b; }
KRN_DEVICE float mul_rn(float a, float b) { return a * b; }
KRN_DEVICE float fma_rn(float a, float b, float c) { return std::fma(a, b, c); }
KRN_DEVICE float div_rn(float a, float b) { return a / b; }
KRN_DEVICE float sqrt_rn(float a) { return std::sqrt(a); }
KRN_DEVICE float max_f32(float a, float b) { return std::fmax(a, b); }
KRN_DEVICE float min_f32(float a, float b) { return std::fmin(a, b); }
KRN_DEVICE float abs_f32(float a) { return std::fabs(a); }
KRN_DEVICE float lg2_approx(float a) { return static_cast<float>(std::log2(static_cast<double>(a))); }

KRN_DEVICE uint32_t fma_f16x2(uint32_t a, uint32_t b, uint32_t c) {
    return emulator::fma_pair(a, b, c, emulator::F16_FORMAT);
}
KRN_DEVICE uint32_t add_f16x2(uint32_t a, uint32_t b) { return fma_f16x2(a, 0x3C003C00u, b); }
KRN_DEVICE uint32_t sub_f16x2(uint32_t a, uint32_t b) { return fma_f16x2(b, 0xBC00BC00u, a); }
KRN_DEVICE uint32_t mul_f16x2(uint32_t a, uint32_t b) { return fma_f16x2(a, b, 0x80008000u); }
KRN_DEVICE uint32_t fma_bf16x2(uint32_t a, uint32_t b, uint32_t c) {
    return emulator::fma_pair(a, b, c, emulator::BF16_FORMAT);
}

#endif

} // namespace ptx

#endif
