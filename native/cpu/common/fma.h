/* a * b + c in binary32, rounded once, for code that is compiled for any processor. */
#ifndef KRN_FMA_H
#define KRN_FMA_H

#include "common/portability.h"

#include <math.h>
#include <stdint.h>
#include <string.h>

#if defined(__MINGW32__)
/* MinGW's fmaf adds in the 64 bits of an x87 register and rounds the sum a second time. Here the product is exact in
 * binary64, and the sum is rounded to odd: its last bit then tells that something was lost, and 53 bits are enough more
 * than 24 that rounding again is harmless (Boldo and Melquiond, 2008). */
KRN_ALWAYS_INLINE float krn_fmaf(float a, float b, float c) {
    const double product = (double)a * b;
    double sum = product + c;
    const double addend = sum - product;
    const double lost = (product - (sum - addend)) + (c - addend);
    uint64_t bits;
    memcpy(&bits, &sum, sizeof bits);
    if (lost != 0 && isfinite(sum) && bits % 2 == 0) {
        /* The next number in the direction of what was lost; it is odd. */
        bits = (lost > 0) == (sum > 0) ? bits + 1 : bits - 1;
        memcpy(&sum, &bits, sizeof sum);
    }
    return (float)sum;
}
#else
KRN_ALWAYS_INLINE float krn_fmaf(float a, float b, float c) { return fmaf(a, b, c); }
#endif

#endif
