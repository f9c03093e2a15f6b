/* exp, in scalar form: it defines the bits that the vector forms of every instruction set give.
 *
 * Cody and Waite: n = rint(a / ln 2), r = a - n ln 2 in two parts, a polynomial of degree 6 with a relative error of
 * 2^-28.2 for |r| <= ln 2 / 2, times 2^n. With its roundings the relative error is below 2^-22.8. */
#ifndef KRN_EXP_H
#define KRN_EXP_H

#include "common/exp_numbers.h"
#include "common/fma.h"
#include "common/half.h"

#include <math.h>

/* Terms behind 1 + r. */
enum { KRN_EXP_TERMS = 5 };

/* exp(-87) is still normal; from 88.38 on the power of two is infinite. */
#define KRN_EXP_LOWEST (-87.0f)
#define KRN_EXP_HIGHEST 89.0f

static const float KRN_EXP[KRN_EXP_TERMS] = KRN_EXP_COEFFICIENTS;

/* exp(a), of a in KRN_EXP_LOWEST..KRN_EXP_HIGHEST. */
KRN_ALWAYS_INLINE float krn_exp(float a) {
    const float rounded = krn_fmaf(a, KRN_LOG2_E, KRN_ROUNDER);
    const float n = rounded - KRN_ROUNDER;
    const float r = krn_fmaf(n, -KRN_LN2_LOW, krn_fmaf(n, -KRN_LN2_HIGH, a));
    float p = KRN_EXP[KRN_EXP_TERMS - 1];
    for (int i = KRN_EXP_TERMS - 2; i >= 0; i--)
        p = krn_fmaf(p, r, KRN_EXP[i]);
    p = 1.0f + krn_fmaf(p, r * r, r);
    return p * krn_f32_from_bits((krn_f32_bits(rounded) << 23) + krn_f32_bits(1.0f));
}

/* A weight of a softmax: exp(a) of a <= 0, or 0 below KRN_EXP_LOWEST, which -infinity is too. */
KRN_ALWAYS_INLINE float krn_exp_weight(float a) { return a < KRN_EXP_LOWEST ? 0.0f : krn_exp(a); }

#endif
