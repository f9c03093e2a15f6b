/* The pass over bases of order 12, 20 and 28, which most widths have: their signs are constants of the code, so that
 * no address waits for a load. Part of hadamard_loops.h, in whose verbs it is written, and
 *
 *   MOST_SUMS             the highest order whose sums fit the registers beside what else is needed */
#ifndef KRN_HADAMARD_CONSTANT_BASES_H
#define KRN_HADAMARD_CONSTANT_BASES_H

#include "hadamard/hadamard_constant_rows.h"

/* The sums of x[0], x[stride], x[2 stride] and x[3 stride] by their signs, with that of element 0 positive. */
KRN_ALWAYS_INLINE void fill_positive_terms(const float *x, int64_t stride, float *table) {
    const lanes_f a = load_f(x), b = load_f(x + stride), c = load_f(x + 2 * stride), d = load_f(x + 3 * stride);
    const lanes_f low[2] = {add_f(a, b), sub_f(a, b)}, high[2] = {add_f(c, d), sub_f(c, d)};
    KRN_UNROLL
    for (int signs = 0; signs < 16; signs += 2) {
        /* Bit i is the sign of element i. */
        const int g1 = signs >> 1 & 1, g2 = signs >> 2 & 1, g3 = signs >> 3 & 1;
        store_f(table + signs / 2 * LANES, g2 ? sub_f(low[g1], high[g2 ^ g3]) : add_f(low[g1], high[g2 ^ g3]));
    }
}

/* The sum of row i from a table of such terms, TERM_LANES for every four elements. */
enum { TERM_LANES = 8 * LANES, MAX_CONSTANT_ORDER = 28 };

KRN_ALWAYS_INLINE lanes_f sum_terms(int order, int transposed, int i, const float *table) {
    const uint32_t row = constant_row(order, transposed, i);
    /* The first sign of every row is positive. */
    lanes_f sum = load_f(table + (row >> 1 & 7) * LANES);
    KRN_UNROLL
    for (int q = 1; q < order / 4; q++) {
        const uint32_t signs = row >> (4 * q) & 15;
        const lanes_f term =
            load_f(table + q * TERM_LANES + (((signs & 1) != 0 ? signs ^ 15 : signs) >> 1) * (uint32_t)LANES);
        sum = (signs & 1) != 0 ? sub_f(sum, term) : add_f(sum, term);
    }
    return sum;
}

/* a + b or a - b. Zen 5 adds in two pipes and multiplies in two others: some sums are made by products with one, which
 * are exact. */
KRN_ALWAYS_INLINE lanes_f accumulate(int by_product, int negative, lanes_f a, lanes_f b) {
    if (by_product)
        return fma_f(b, broadcast_f32(negative ? -1 : 1), a);
    return negative ? sub_f(a, b) : add_f(a, b);
}

/* Adds the terms of x, x + stride, x + 2 stride and x + 3 stride to the sums of all rows, in registers. */
KRN_ALWAYS_INLINE void add_constant_terms(int order, int transposed, int q, const float *x, int64_t stride,
                                          lanes_f *sums) {
    const lanes_f a = load_f(x), b = load_f(x + stride), c = load_f(x + 2 * stride), d = load_f(x + 3 * stride);
    const lanes_f low[2] = {accumulate(0, 0, a, b), accumulate(1, 1, a, b)};
    const lanes_f high[2] = {accumulate(0, 0, c, d), accumulate(1, 1, c, d)};
    KRN_UNROLL
    for (int signs = 0; signs < 16; signs += 2) {
        const int g1 = signs >> 1 & 1, g2 = signs >> 2 & 1, g3 = signs >> 3 & 1;
        const lanes_f sum = accumulate(g1, g2, low[g1], high[g2 ^ g3]);
        /* In two halves: loops of more than 16 steps are not unrolled. */
        KRN_UNROLL
        for (int half = 0; half < order; half += order / 2) {
            KRN_UNROLL
            for (int i = half; i < half + order / 2; i++) {
                const uint32_t row = constant_row(order, transposed, i) >> (4 * q) & 15;
                const int negative = (row & 1) != 0;
                if ((negative ? row ^ 15 : row) == (uint32_t)signs)
                    sums[i] = q == 0 ? sum : accumulate(i % 2, negative, sums[i], sum);
            }
        }
    }
}

/* The base over the columns of one register at row[at], by way of a table. */
KRN_ALWAYS_INLINE void run_by_table(int order, int transposed, int32_t to, int64_t stride, const float *row,
                                    const sink *s, int64_t at) {
    _Alignas(64) float table[MAX_CONSTANT_ORDER / 4 * TERM_LANES];
    for (int q = 0; q < order / 4; q++)
        fill_positive_terms(row + at + 4 * q * stride, stride, table + q * TERM_LANES);
    KRN_UNROLL
    for (int first = 0; first < order; first += 4) {
        lanes_f sums[4];
        KRN_UNROLL
        for (int r = 0; r < 4; r++)
            sums[r] = sum_terms(order, transposed, first + r, table);
        put_lanes(to, s, at + first * stride, stride, 4, sums);
    }
}

/* The same with all sums in registers. */
KRN_ALWAYS_INLINE void run_in_registers(int order, int transposed, int32_t to, int64_t stride, const float *row,
                                        const sink *s, int64_t at) {
    lanes_f sums[MAX_CONSTANT_ORDER];
    KRN_UNROLL
    for (int q = 0; q < order / 4; q++)
        add_constant_terms(order, transposed, q, row + at + 4 * q * stride, stride, sums);
    KRN_UNROLL
    for (int half = 0; half < order; half += order / 2)
        put_lanes(to, s, at + half * stride, stride, order / 2, sums + half);
}

KRN_ALWAYS_INLINE void run_constant_base(int order, int transposed, int32_t to, int64_t stride, const float *row,
                                         const sink *s, int64_t n) {
    const int64_t span = stride * order;
    int64_t done = 0;
    for (int64_t from = 0; from < n; from += span) {
        for (int64_t at = from; at < from + stride; at += LANES, done += order * LANES) {
            prefetch_ahead(s, done, order * LANES);
            if (order <= MOST_SUMS)
                run_in_registers(order, transposed, to, stride, row, s, at);
            else
                run_by_table(order, transposed, to, stride, row, s, at);
        }
    }
}

/* Whether the base over columns `stride` apart was one of these. */
static int run_if_constant(int32_t to, const krn_hadamard_base *base, int64_t stride, const float *row, const sink *s,
                           int64_t n) {
    if (stride % LANES != 0)
        return 0;
    switch (base->order) {
    case 12:
        if (base->transposed)
            run_constant_base(12, 1, to, stride, row, s, n);
        else
            run_constant_base(12, 0, to, stride, row, s, n);
        return 1;
    case 20:
        if (base->transposed)
            run_constant_base(20, 1, to, stride, row, s, n);
        else
            run_constant_base(20, 0, to, stride, row, s, n);
        return 1;
    case 28: run_constant_base(28, 0, to, stride, row, s, n); return 1;
    default: return 0;
    }
}

#endif
