/* Sums of two binary64, the second at most half a unit in the last place of the first: about 106 bits, from + - * and /
 * alone (Dekker 1971, Knuth, TAOCP 2, 4.2.2), so that every machine computes the same bits. Numbers are far from
 * overflow and underflow. */
#ifndef KRN_DOUBLE_DOUBLE_H
#define KRN_DOUBLE_DOUBLE_H

#include "common/portability.h"

typedef struct {
    double high, low;
} double_double;

/* |a| >= |b| or a = 0. */
KRN_ALWAYS_INLINE double_double fast_two_sum(double a, double b) {
    const double sum = a + b;
    return (double_double){sum, b - (sum - a)};
}

KRN_ALWAYS_INLINE double_double two_sum(double a, double b) {
    const double sum = a + b;
    const double b_rounded = sum - a;
    return (double_double){sum, (a - (sum - b_rounded)) + (b - b_rounded)};
}

/* Halves of 26 bits, whose products are exact. */
KRN_ALWAYS_INLINE double_double split(double a) {
    const double scaled = 134217729.0 * a; /* 2^27 + 1 */
    const double high = scaled - (scaled - a);
    return (double_double){high, a - high};
}

KRN_ALWAYS_INLINE double_double two_product(double a, double b) {
    const double product = a * b;
    const double_double x = split(a), y = split(b);
    const double error = ((x.high * y.high - product) + x.high * y.low + x.low * y.high) + x.low * y.low;
    return (double_double){product, error};
}

KRN_ALWAYS_INLINE double_double dd_of(double a) { return (double_double){a, 0}; }

KRN_ALWAYS_INLINE double_double dd_negate(double_double a) { return (double_double){-a.high, -a.low}; }

KRN_ALWAYS_INLINE double_double dd_add(double_double a, double_double b) {
    const double_double high = two_sum(a.high, b.high), low = two_sum(a.low, b.low);
    const double_double sum = fast_two_sum(high.high, high.low + low.high);
    return fast_two_sum(sum.high, sum.low + low.low);
}

KRN_ALWAYS_INLINE double_double dd_multiply(double_double a, double_double b) {
    const double_double product = two_product(a.high, b.high);
    return fast_two_sum(product.high, product.low + (a.high * b.low + a.low * b.high));
}

KRN_ALWAYS_INLINE double_double dd_divide(double_double a, double_double b) {
    const double first = a.high / b.high;
    const double_double rest = dd_add(a, dd_negate(dd_multiply(b, dd_of(first))));
    const double second = rest.high / b.high;
    const double_double last = dd_add(rest, dd_negate(dd_multiply(b, dd_of(second))));
    return dd_add(fast_two_sum(first, second), dd_of(last.high / b.high));
}

#endif
