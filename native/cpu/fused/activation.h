/* Logistic gates: the numbers that every variant computes them with, and the scalar form that defines the bits.
 *
 *   gate(g) = g / (1 + exp(-h(g)))     h(g) = g                      SiLU
 *                                      h(g) = ln(P(g) / P(-g))       GELU: P is the normal distribution, P(g) = 1 / (1 + exp(-h))
 *                                      h(g) = 2 sqrt(2 / pi) (g + 0.044715 g^3)      GELU by tanh, as 1 + tanh(v) = 2 / (1 + exp(-2 v))
 *
 * h is odd: g times a polynomial in g^2. That of GELU was fitted to |g| <= 5.6 with the weight g P(g) P(-g), so that
 * the error that it makes of P is at most 2.9e-8 everywhere; beyond 5.6, where P is below 1.1e-8 or above 1 - 1.1e-8,
 * the polynomial keeps its last value and h goes on in a straight line.
 *
 * exp(-h): as in common/exp.h, of s = h + n ln 2 with the signs that go with it.
 *
 * Polynomials are evaluated in pairs (Estrin), which leaves a processor half the waiting of Horner's rule. */
#ifndef KRN_FUSED_ACTIVATION_H
#define KRN_FUSED_ACTIVATION_H

#include "common/exp.h"
#include "fused/activation_numbers.h"

static const float KRN_GELU[7] = KRN_GELU_TERMS;
static const float KRN_GELU_TANH[2] = KRN_GELU_TANH_TERMS;

/* exp(-h), of h in KRN_GATE_LOWEST..KRN_GATE_HIGHEST. */
KRN_ALWAYS_INLINE float krn_exp_negated(float h) {
    const float rounded = krn_fmaf(h, -KRN_LOG2_E, KRN_ROUNDER);
    const float n = rounded - KRN_ROUNDER;
    const float s = krn_fmaf(n, KRN_LN2_LOW, krn_fmaf(n, KRN_LN2_HIGH, h));
    const float square = s * s;
    const float low = krn_fmaf(KRN_EXP[1], s, -KRN_EXP[0]), middle = krn_fmaf(KRN_EXP[3], s, -KRN_EXP[2]);
    const float e = krn_fmaf(krn_fmaf(-KRN_EXP[4], square, middle), square, low);
    const float p = 1.0f - krn_fmaf(e, square, s);
    /* 2^n in two steps, because 2^128 is infinite and p * 2^128 need not be. */
    return (p + p) * krn_f32_from_bits((krn_f32_bits(rounded) << 23) + krn_f32_bits(0.5f));
}

KRN_ALWAYS_INLINE float krn_gelu_h(float g) {
    const float square = g * g < KRN_GELU_LAST ? g * g : KRN_GELU_LAST;
    const float fourth = square * square;
    const float a = krn_fmaf(KRN_GELU[1], square, KRN_GELU[0]), b = krn_fmaf(KRN_GELU[3], square, KRN_GELU[2]);
    const float c = krn_fmaf(KRN_GELU[6], fourth, krn_fmaf(KRN_GELU[5], square, KRN_GELU[4]));
    return g * krn_fmaf(krn_fmaf(c, fourth, b), fourth, a);
}

KRN_ALWAYS_INLINE float krn_gelu_tanh_h(float g) { return g * krn_fmaf(KRN_GELU_TANH[1], g * g, KRN_GELU_TANH[0]); }

/* g / (1 + exp(-h)). */
KRN_ALWAYS_INLINE float krn_gate(float g, float h) {
    float within = h > KRN_GATE_LOWEST ? h : KRN_GATE_LOWEST;
    within = within < KRN_GATE_HIGHEST ? within : KRN_GATE_HIGHEST;
    return g / (1.0f + krn_exp_negated(within));
}

#endif
