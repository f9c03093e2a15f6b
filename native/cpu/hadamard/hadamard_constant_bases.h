/* The pass over bases of order 12, 20 and 28, which most widths have: their signs are constants of the code, so that
 * no address waits for a load. Part of hadamard_loops.h, in whose verbs it is written, and
 *
 *   MOST_SUMS             an even number: sums of rows that fit the registers beside what else is needed
 *
 * Rows of a base with more of them are summed in groups. These read sums and differences of pairs of rows, which are
 * made once, from the first-level cache: two operations for an element and one load, where a table of the terms takes
 * a load for each of them (n = 14336, 28 rows, in cache: 18% less time with 16 lanes, 16% with 8). */
#ifndef KRN_HADAMARD_CONSTANT_BASES_H
#define KRN_HADAMARD_CONSTANT_BASES_H

#include "hadamard/hadamard_constant_rows.h"

/* Registers of a line, and of two where there are groups; and where a register of columns has, in place of rows a and b of a pair, a + b and a - b. */
enum { LINE_COLUMNS = 16 / LANES, MOST_COLUMNS = 2, MAX_CONSTANT_ORDER = 28, PAIRS = MAX_CONSTANT_ORDER * LANES };

/* a + b or a - b. Zen 5 adds in two pipes and multiplies in two others: some sums are made by products with one, which
 * are exact. */
KRN_ALWAYS_INLINE lanes_f accumulate(int by_product, int negative, lanes_f a, lanes_f b) {
    if (by_product)
        return fma_f(b, broadcast_f32(negative ? -1 : 1), a);
    return negative ? sub_f(a, b) : add_f(a, b);
}

KRN_ALWAYS_INLINE void fill_pairs(int order, const float *x, int64_t stride, float *pairs) {
    for (int i = 0; i < order; i += 2) {
        const lanes_f a = load_f(x + i * stride), b = load_f(x + (i + 1) * stride);
        store_f(pairs + i * LANES, add_f(a, b));
        store_f(pairs + (i + 1) * LANES, accumulate(1, 1, a, b));
    }
}

/* The sum and the difference of rows i and i + 1. */
KRN_ALWAYS_INLINE void load_pair(int is_paired, const float *x, int64_t step, int i, lanes_f pair[2]) {
    const lanes_f a = load_f(x + i * step), b = load_f(x + (i + 1) * step);
    pair[0] = is_paired ? a : add_f(a, b);
    pair[1] = is_paired ? b : accumulate(1, 1, a, b);
}

/* Rows first .. first + count - 1 of the base over rows `step` apart, or over their pairs. */
KRN_ALWAYS_INLINE void run_rows(int order, int transposed, int first, int count, int32_t to, int64_t stride,
                                int is_paired, const float *x, int64_t step, const sink *s, int64_t at, int column,
                                float *evens) {
    lanes_f sums[MOST_SUMS];
    KRN_UNROLL
    for (int q = 0; q < order / 4; q++) {
        lanes_f low[2], high[2];
        load_pair(is_paired, x, step, 4 * q, low);
        load_pair(is_paired, x, step, 4 * q + 2, high);
        KRN_UNROLL
        for (int signs = 0; signs < 16; signs += 2) {
            /* Bit i is the sign of element i, here with that of element 0 positive. */
            const int g1 = signs >> 1 & 1, g2 = signs >> 2 & 1, g3 = signs >> 3 & 1;
            const lanes_f sum = accumulate(g1, g2, low[g1], high[g2 ^ g3]);
            /* In two halves: loops of more than 16 steps are not unrolled. */
            KRN_UNROLL
            for (int half = 0; half < 2; half++) {
                KRN_UNROLL
                for (int i = half * (MOST_SUMS / 2); i < (half + 1) * (MOST_SUMS / 2); i++) {
                    const int is_row = i < count;
                    const uint32_t row = constant_row(order, transposed, is_row ? first + i : 0) >> (4 * q) & 15;
                    const int negative = (row & 1) != 0;
                    /* The first sign of every row is positive. */
                    if (is_row && (negative ? row ^ 15 : row) == (uint32_t)signs)
                        sums[i] = in_turn(q == 0 ? sum : accumulate(i % 2, negative, sums[i], sum));
                }
            }
        }
    }
    put_column(to, s, at + first * stride, column, stride, count / 2, sums, evens);
    put_column(to, s, at + (first + count / 2) * stride, column, stride, count - count / 2, sums + count / 2,
               evens + count / 2 * LANES);
}

/* Group g of the groups that the rows are cut into. */
KRN_ALWAYS_INLINE void run_group(int order, int transposed, int g, int groups, int32_t to, int64_t stride,
                                 const float *pairs, const sink *s, int64_t at, int column, float *evens) {
    const int first = order * g / groups, end = order * (g + 1) / groups;
    run_rows(order, transposed, first, end - first, to, stride, 1, pairs, LANES, s, at, column, evens);
}

/* The base over `columns` registers of columns, a whole line where there is one: strides of a power of two leave lines
 * few places in the cache, from which they are gone when their second half is wanted. */
KRN_ALWAYS_INLINE void run_constant_columns(int order, int transposed, int columns, int32_t to, int64_t stride,
                                            const float *row, const sink *s, int64_t at, float *evens) {
    const int groups = (order + MOST_SUMS - 1) / MOST_SUMS;
    if (groups == 1) {
        for (int c = 0; c < columns; c++)
            run_rows(order, transposed, 0, order, to, stride, 0, row + at + c * LANES, stride, s, at, c, evens);
        return;
    }
    _Alignas(64) float pairs[MOST_COLUMNS * PAIRS];
    for (int c = 0; c < columns; c++)
        fill_pairs(order, row + at + c * LANES, stride, pairs + c * PAIRS);
    /* Two to four groups. Clang does not unroll a loop around so much. */
    for (int c = 0; c < columns; c++)
        run_group(order, transposed, 0, groups, to, stride, pairs + c * PAIRS, s, at, c, evens);
    for (int c = 0; c < columns; c++)
        run_group(order, transposed, 1, groups, to, stride, pairs + c * PAIRS, s, at, c, evens);
    for (int c = 0; groups > 2 && c < columns; c++)
        run_group(order, transposed, 2, groups, to, stride, pairs + c * PAIRS, s, at, c, evens);
    for (int c = 0; groups > 3 && c < columns; c++)
        run_group(order, transposed, 3, groups, to, stride, pairs + c * PAIRS, s, at, c, evens);
}

KRN_ALWAYS_INLINE void run_constant_base(int order, int transposed, int32_t to, int64_t stride, const float *row,
                                         const sink *s, int64_t n) {
    const int64_t span = stride * order;
    _Alignas(64) float evens[MOST_SUMS * LANES] = {0};
    /* Groups with 16 lanes: the rows of 28 over 512 columns share two sets of the first-level cache, from which a line is
     * gone before its result is written; of two lines one is asked for while the other comes (Zen 4: 8 to 13% less time). */
    const int most = to == SPLIT_BF16 || (LANES == 16 && order > MOST_SUMS) ? MOST_COLUMNS : LINE_COLUMNS;
    int64_t done = 0;
    for (int64_t from = 0; from < n; from += span) {
        for (int64_t at = from; at < from + stride; at += most * LANES) {
            const int64_t left = (from + stride - at) / LANES;
            prefetch_ahead(s, done, order * most * LANES);
            done += order * most * LANES;
            run_constant_columns(order, transposed, left < most ? (int)left : most, to, stride, row, s, at, evens);
        }
    }
}

/* Whether the base over columns `stride` apart was one of these. */
KRN_ALWAYS_INLINE int run_if_constant(int32_t to, const krn_hadamard_base *base, int64_t stride, const float *row,
                                      const sink *s, int64_t n) {
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
