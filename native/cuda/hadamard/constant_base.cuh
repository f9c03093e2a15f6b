/* The pass over a base of order 12, 20 or 28, which most widths have that are no power of two, such as 3072 = 12 * 256,
 * 5120 = 20 * 256 and 14336 = 28 * 512. Part of transform.cuh.
 *
 * A thread has all rows of a column. The eight sums that four elements can have, up to their sign, are made once for all
 * rows: for order 28 a column takes 7 * 12 + 7 * 28 additions, 10 to an element, where four rows of a base with signs in
 * memory (base_pass) take 28 and twice as many operations on signs, and read each element seven times. */
#ifndef KRN_CUDA_CONSTANT_BASE_H
#define KRN_CUDA_CONSTANT_BASE_H

#include "hadamard/hadamard_constant_rows.h"

namespace kernels {

/* Adds four elements to the sum of row `row`. */
template <int32_t order, int32_t q, int32_t row> KRN_DEVICE void add_term(const float (&x)[4], float &sum) {
    constexpr uint32_t SIGNS = constant_row(order, 0, row) >> (4 * q) & 15;
    constexpr uint32_t G0 = SIGNS & 1, G1 = SIGNS >> 1 & 1, G2 = SIGNS >> 2 & 1, G3 = SIGNS >> 3 & 1;
    /* What rows have in common is computed once: equal expressions of pure instructions. */
    const float low = G0 != G1 ? ptx::sub_rn(x[0], x[1]) : ptx::add_rn(x[0], x[1]);
    const float high = G2 != G3 ? ptx::sub_rn(x[2], x[3]) : ptx::add_rn(x[2], x[3]);
    const float term = G0 != G2 ? ptx::sub_rn(low, high) : ptx::add_rn(low, high);
    if constexpr (q == 0) {
        static_assert(G0 == 0, "the first sign of every row is positive");
        sum = term;
    } else {
        sum = G0 != 0 ? ptx::sub_rn(sum, term) : ptx::add_rn(sum, term);
    }
}

template <int32_t order, int32_t q, int32_t row = 0> KRN_DEVICE void add_terms(const float (&x)[4], float *sums) {
    if constexpr (row < order) {
        add_term<order, q, row>(x, sums[row]);
        add_terms<order, q, row + 1>(x, sums);
    }
}

template <int32_t order, int32_t q = 0>
KRN_DEVICE void add_quads(const Tile &t, int32_t first, int32_t shift, float *sums) {
    if constexpr (4 * q < order) {
        float x[4];
        KRN_UNROLL_ALL
        for (int32_t e = 0; e < 4; e++)
            x[e] = t.load<1>({first, 4 * q + e, shift}).at[0];
        add_terms<order, q>(x, sums);
        add_quads<order, q + 1>(t, first, shift, sums);
    }
}

/* The first element of a column. */
KRN_DEVICE int32_t first_of(int32_t column, int32_t shift, int32_t order) {
    return (column >> shift) * (order << shift) + (column & ((1 << shift) - 1));
}

/* Elements of a column, 2^shift apart, are written where they were read, by the thread that has read them all. */
template <int32_t order, class Store> KRN_DEVICE void constant_base_pass(const Tile &t, int32_t shift, Store store) {
    KRN_UNROLL_NONE
    for (int32_t column = t.rank; column * order < t.elems; column += t.threads) {
        float sums[order];
        add_quads<order>(t, first_of(column, shift, order), shift, sums);
        /* Found again, rather than kept beside the sums. */
        const int32_t first = first_of(ptx::renewed(column), shift, order);
        KRN_UNROLL_ALL
        for (int32_t row = 0; row < order; row++)
            store(Place{first, row, shift}, Values<1>{{sums[row]}});
    }
}

template <class Store> KRN_DEVICE void constant_base_pass_of(const Tile &t, int32_t order, int32_t shift, Store store) {
    switch (order) {
    case 12: constant_base_pass<12>(t, shift, store); break;
    case 20: constant_base_pass<20>(t, shift, store); break;
    default: constant_base_pass<28>(t, shift, store); break;
    }
}

} // namespace kernels

#endif
