/* The numbers of exp.h, which kernels of devices compute with too; there it is told what they are for. */
#ifndef KRN_EXP_NUMBERS_H
#define KRN_EXP_NUMBERS_H

#define KRN_LOG2_E 0x1.715476p+0f
/* ln 2 in two parts. The first has 15 bits, so that its product with n is exact. */
#define KRN_LN2_HIGH 0x1.62e4p-1f
#define KRN_LN2_LOW 0x1.7f7d1cp-20f
/* 1.5 * 2^23: a number near 0 that is added to it is rounded to an integer, which lies in the low bits of the sum. */
#define KRN_ROUNDER 0x1.8p+23f

/* Coefficients of r^2, r^3 ... */
#define KRN_EXP_COEFFICIENTS                                                                                           \
    { 0x1.fffffcp-2f, 0x1.555492p-3f, 0x1.5558f2p-5f, 0x1.1239e2p-7f, 0x1.6a23c6p-10f }

#endif
