/* Cosines and sines of the angles that kernels/rope.h defines. The libraries of C differ in the last bits of sin, cos
 * and pow; a table must not. */
#include "rope/rope_table.h"

#include "rope/double_double.h"

#include <math.h>

static const double_double HALF_PI = {0x1.921fb54442d18p+0, 0x1.1a62633145c07p-54};
static const double_double TWO_PI = {0x1.921fb54442d18p+2, 0x1.1a62633145c07p-52};
static const double_double LN_2 = {0x1.62e42fefa39efp-1, 0x1.abc9e3b39803fp-56};

/* Natural logarithm of a finite x >= 1: of the significand m in 0.70 .. 1.42 as 2 atanh(t), t = (m - 1) / (m + 1). */
static double_double logarithm(double x) {
    /* t^2 < 0.0295: the first term left out is below 2^-110 of the sum. */
    enum { TERMS = 21 };
    int exponent;
    double m = frexp(x, &exponent);
    if (m < 0.7071) {
        m *= 2;
        exponent--;
    }
    const double_double t = dd_divide(two_sum(m, -1), two_sum(m, 1));
    const double_double square = dd_multiply(t, t);
    double_double sum = {0, 0};
    for (int n = TERMS; n >= 0; n--)
        sum = dd_add(dd_multiply(sum, square), dd_divide(dd_of(2), dd_of(2 * n + 1)));
    return dd_add(dd_multiply(sum, t), dd_multiply(LN_2, dd_of(exponent)));
}

/* e^x for x <= 0. */
static double_double exponential(double_double x) {
    /* |r| < 0.35: the first term left out of the series is below 2^-110. */
    enum { TERMS = 24 };
    const double exponent = floor(x.high / LN_2.high + 0.5);
    const double_double r = dd_add(x, dd_negate(dd_multiply(LN_2, dd_of(exponent))));
    double_double sum = {1, 0};
    for (int n = TERMS; n >= 1; n--)
        sum = dd_add(dd_of(1), dd_divide(dd_multiply(sum, r), dd_of(n)));
    return (double_double){ldexp(sum.high, (int)exponent), ldexp(sum.low, (int)exponent)};
}

/* Sine and cosine of r, |r| <= pi/4, to about one unit in the last place of binary64, by their series: the first terms
 * left out are below 2^-58. */
static void sine_cosine(double_double r, double *sine, double *cosine) {
    static const double S[] = {-1.0 / 6,
                               1.0 / 120,
                               -1.0 / 5040,
                               1.0 / 362880,
                               -1.0 / 39916800,
                               1.0 / 6227020800.0,
                               -1.0 / 1307674368000.0,
                               1.0 / 355687428096000.0};
    static const double C[] = {1.0 / 24,          -1.0 / 720,           1.0 / 40320,           -1.0 / 3628800,
                               1.0 / 479001600.0, -1.0 / 87178291200.0, 1.0 / 20922789888000.0};
    const double x = r.high, square = x * x;
    double s = 0, c = 0;
    for (int i = 7; i >= 0; i--)
        s = s * square + S[i];
    for (int i = 6; i >= 0; i--)
        c = c * square + C[i];
    const double half_square = square / 2;
    *sine = x + (x * square * s + r.low * (1 - half_square));
    /* 1 - half_square is rounded; what it lost is added with the small terms. */
    const double most = 1 - half_square;
    *cosine = most + (((1 - most) - half_square) + (square * square * c - x * r.low));
}

static double_double scale_frequency(const krn_rope_options *options, double_double frequency) {
    if (options->scaling == KRN_ROPE_SCALING_NONE)
        return frequency;
    const double_double divided = dd_divide(frequency, dd_of(options->factor));
    if (options->scaling == KRN_ROPE_SCALING_LINEAR)
        return divided;
    const double_double turns = dd_divide(dd_multiply(frequency, dd_of((double)options->original_context)), TWO_PI);
    if (turns.high <= options->low_freq_factor)
        return divided;
    if (turns.high >= options->high_freq_factor)
        return frequency;
    const double_double above = dd_add(turns, dd_of(-options->low_freq_factor));
    const double_double share =
        dd_divide(above, dd_add(dd_of(options->high_freq_factor), dd_of(-options->low_freq_factor)));
    const double_double rest = dd_add(dd_of(1), dd_negate(share));
    return dd_add(dd_multiply(frequency, share), dd_multiply(divided, rest));
}

static double_double frequency_of(const krn_rope_options *options, int64_t rotary_dim, int64_t i) {
    const double base = options->theta_base == 0 ? 10000 : options->theta_base;
    const double_double share = dd_divide(dd_of((double)(-2 * i)), dd_of((double)rotary_dim));
    return scale_frequency(options, exponential(dd_multiply(share, logarithm(base))));
}

static void put_entry(double_double frequency, int64_t position, float *cosine, float *sine) {
    const double_double angle = dd_multiply(frequency, dd_of((double)position));
    const double quarters = floor(angle.high / HALF_PI.high + 0.5);
    double s, c;
    sine_cosine(dd_add(angle, dd_negate(dd_multiply(HALF_PI, dd_of(quarters)))), &s, &c);
    switch ((int64_t)quarters % 4) {
    case 0: *cosine = (float)c, *sine = (float)s; break;
    case 1: *cosine = (float)-s, *sine = (float)c; break;
    case 2: *cosine = (float)-c, *sine = (float)-s; break;
    default: *cosine = (float)s, *sine = (float)-c; break;
    }
}

void krn_rope_fill_table(const krn_rope_options *options, int64_t rotary_dim, int64_t first_position, int64_t count,
                         float *cos_sin) {
    const int64_t half = rotary_dim / 2;
    for (int64_t i = 0; count > 0 && i < half; i++) {
        const double_double frequency = frequency_of(options, rotary_dim, i);
        for (int64_t p = 0; p < count; p++) {
            float *row = cos_sin + p * rotary_dim;
            put_entry(frequency, first_position + p, &row[i], &row[half + i]);
        }
    }
}
