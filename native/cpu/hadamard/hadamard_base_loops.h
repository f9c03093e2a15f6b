/* The pass over bases: part of hadamard_loops.h, in whose verbs it is written. */
#ifndef KRN_HADAMARD_BASE_LOOPS_H
#define KRN_HADAMARD_BASE_LOOPS_H

#include "hadamard/hadamard_constant_bases.h"

/* An output is a sum of order / 4 terms, each one of 16 signed sums of four elements, which a table holds:
 *
 *   table[q][signs of the four][COLUMNS registers]      for TERMS terms at a time
 *
 * With more terms the sums wait in memory. */
enum { COLUMNS = 4, ENTRY = COLUMNS * LANES, TERMS = 8 };

typedef struct {
    _Alignas(64) float table[TERMS * 16 * ENTRY];
    _Alignas(64) float sums[KRN_HADAMARD_MAX_ORDER * ENTRY];
} base_space;

KRN_ALWAYS_INLINE lanes_f load_part(const float *x, int64_t n) {
    return n < LANES ? load_rest(KRN_TYPE_F32, x, 0, n) : load_f(x);
}

/* The 16 sums of x[0], x[stride], x[2 stride] and x[3 stride] in the first n lanes, n <= LANES. */
KRN_ALWAYS_INLINE void fill_terms(const float *x, int64_t stride, int64_t n, float *table) {
    const lanes_f a = load_part(x, n), b = load_part(x + stride, n);
    const lanes_f c = load_part(x + 2 * stride, n), d = load_part(x + 3 * stride, n);
    const lanes_f low[2] = {add_f(a, b), sub_f(a, b)}, high[2] = {add_f(c, d), sub_f(c, d)};
    KRN_UNROLL
    for (int signs = 0; signs < 16; signs += 2) {
        /* Bit i is the sign of element i, here with that of element 0 positive. */
        const int g1 = signs >> 1 & 1, g2 = signs >> 2 & 1, g3 = signs >> 3 & 1;
        const lanes_f sum = g2 ? sub_f(low[g1], high[g2 ^ g3]) : add_f(low[g1], high[g2 ^ g3]);
        store_f(table + signs * ENTRY, sum);
        store_f(table + (15 - signs) * ENTRY, negate_f(sum));
    }
}

/* What is added to the sums of a base: its terms from number `first` on, at row[at]. Of the sums these are the first ones
 * and the last ones, or not. */
typedef struct {
    int64_t first, stride, at;
    int is_first, is_last;
} base_step;

/* Adds `terms` terms to the sums of every row, in the first `width` registers, or in n < LANES lanes of one. */
KRN_ALWAYS_INLINE void add_terms(int64_t terms, int width, int32_t to, base_space *space, const krn_hadamard_base *base,
                                 const base_step *where, const sink *results, int64_t n) {
    /* Copies, which no store changes. */
    const base_step step = *where;
    const sink place = *results;
    const uint8_t *signs = base->signs + step.first;
    float *sums = space->sums;
    const int64_t row_terms = base->order / 4, end = step.at + base->order * step.stride;
    for (int64_t at = step.at; at < end; at += step.stride, signs += row_terms, sums += ENTRY) {
        lanes_f x[COLUMNS];
        KRN_UNROLL
        for (int c = 0; c < width; c++) {
            const lanes_f term = load_f(space->table + signs[0] * (int64_t)(ENTRY / 16) + c * LANES);
            x[c] = step.is_first ? term : add_f(load_f(sums + c * LANES), term);
        }
        KRN_UNROLL
        for (int64_t q = 1; q < terms; q++) {
            KRN_UNROLL
            for (int c = 0; c < width; c++)
                x[c] =
                    add_f(x[c], load_f(space->table + q * 16 * ENTRY + signs[q] * (int64_t)(ENTRY / 16) + c * LANES));
        }
        if (!step.is_last) {
            KRN_UNROLL
            for (int c = 0; c < width; c++)
                store_f(sums + c * LANES, x[c]);
        } else if (n < LANES) {
            put_rest(to, &place, at, n, x[0]);
        } else {
            put_lanes(to, &place, at, width, x);
        }
    }
}

/* With loops over the terms unrolled for whole entries. */
KRN_ALWAYS_INLINE void add_any_terms(int64_t terms, int width, int32_t to, base_space *space,
                                     const krn_hadamard_base *base, const base_step *step, const sink *s, int64_t n) {
    switch (width == COLUMNS ? terms : 0) {
    case 3: add_terms(3, width, to, space, base, step, s, n); break;
    case 4: add_terms(4, width, to, space, base, step, s, n); break;
    case 5: add_terms(5, width, to, space, base, step, s, n); break;
    case 6: add_terms(6, width, to, space, base, step, s, n); break;
    case 7: add_terms(7, width, to, space, base, step, s, n); break;
    case 8: add_terms(8, width, to, space, base, step, s, n); break;
    default: add_terms(terms, width, to, space, base, step, s, n); break;
    }
}

/* One base over `width` registers of columns, or one of n < LANES of them, at row[at]. */
KRN_ALWAYS_INLINE void run_columns(int width, int32_t to, base_space *space, const krn_hadamard_base *base,
                                   int64_t stride, const float *row, const sink *s, int64_t at, int64_t n) {
    const int64_t row_terms = base->order / 4;
    const int64_t chunks = (row_terms + TERMS - 1) / TERMS;
    base_step step = {.stride = stride, .at = at};
    for (int64_t chunk = 0; chunk < chunks; chunk++) {
        /* Evenly: the remaining terms over the remaining chunks, so that each has at least 4. */
        const int64_t terms = (row_terms - step.first + chunks - chunk - 1) / (chunks - chunk);
        for (int64_t q = 0; q < terms; q++)
            for (int c = 0; c < width; c++)
                fill_terms(row + at + 4 * (step.first + q) * stride + c * LANES, stride, n,
                           space->table + q * 16 * ENTRY + c * LANES);
        step.is_first = chunk == 0;
        step.is_last = chunk == chunks - 1;
        add_any_terms(terms, width, to, space, base, &step, s, n);
        step.first += terms;
    }
}

KRN_ALWAYS_INLINE void run_base(int32_t to, const krn_hadamard_base *base, int64_t stride, const float *row,
                                const sink *s, int64_t n) {
    base_space space;
    if (run_if_constant(to, base, stride, row, s, n))
        return;
    const int64_t span = stride * base->order;
    int64_t done = 0;
    for (int64_t from = 0; from < n; from += span) {
        int64_t at = from;
        for (; at + ENTRY <= from + stride; at += ENTRY) {
            prefetch_ahead(s, done, base->order * ENTRY);
            done += base->order * ENTRY;
            run_columns(COLUMNS, to, &space, base, stride, row, s, at, LANES);
        }
        for (; at < from + stride; at += LANES) {
            const int64_t left = from + stride - at;
            run_columns(1, to, &space, base, stride, row, s, at, left < LANES ? left : LANES);
        }
    }
}

#endif
