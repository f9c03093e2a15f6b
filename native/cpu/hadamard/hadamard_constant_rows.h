/* The signs of the bases of order 12, 20 and 28 as constants of the code. C, and constant expressions of C++. */
#ifndef KRN_HADAMARD_CONSTANT_ROWS_H
#define KRN_HADAMARD_CONSTANT_ROWS_H

#include <stdint.h>

#if defined(__cplusplus)
#define KRN_CONSTANT static constexpr inline
#else
#include "common/portability.h"
#define KRN_CONSTANT KRN_ALWAYS_INLINE
#endif

/* Bit x is set where x is no square of GF(q). */
enum {
    NO_SQUARES_11 = 1 << 2 | 1 << 6 | 1 << 7 | 1 << 8 | 1 << 10,
    NO_SQUARES_13 = 1 << 2 | 1 << 5 | 1 << 6 | 1 << 7 | 1 << 8 | 1 << 11,
    NO_SQUARES_19 = 1 << 2 | 1 << 3 | 1 << 8 | 1 << 10 | 1 << 12 | 1 << 13 | 1 << 14 | 1 << 15 | 1 << 18,
};

/* The signs of a row of the bordered matrix of order q + 1, entry j in bit j: those of j - i for i, j > 0. */
KRN_CONSTANT uint32_t bordered_row(int q, uint32_t no_squares, int i) {
    if (i == 0)
        return 0;
    const uint32_t all = (1u << q) - 1;
    return ((no_squares << (i - 1) | no_squares >> (q - i + 1)) & all) << 1;
}

/* Bit i to bits 2 i and 2 i + 1, of 16. */
KRN_CONSTANT uint32_t twice_each(uint32_t bits) {
    bits = (bits | bits << 8) & 0x00FF00FF;
    bits = (bits | bits << 4) & 0x0F0F0F0F;
    bits = (bits | bits << 2) & 0x33333333;
    bits = (bits | bits << 1) & 0x55555555;
    return bits * 3;
}

/* Row i of the matrix as it is constructed (kernels/hadamard.h). That of order 28 is symmetric; transposing the others,
 * for which -1 is no square, negates all but the diagonal. */
KRN_CONSTANT uint32_t constructed_row(int order, int transposed, int i) {
    if (order == 28)
        return twice_each(bordered_row(13, NO_SQUARES_13, i / 2)) ^
               (i % 2 == 0 ? 2u << i : 0x0AAAAAAAu ^ 1u << (i - 1));
    const uint32_t no_squares = order == 12 ? NO_SQUARES_11 : NO_SQUARES_19;
    const uint32_t row = bordered_row(order - 1, no_squares, i) | (i > 0 ? 1 : 0);
    return transposed ? row ^ ((1u << order) - 1) ^ 1u << i : row;
}

KRN_CONSTANT uint32_t from_first(int order, uint32_t row) { return (row & 1) != 0 ? row ^ ((1u << order) - 1) : row; }

/* With rows and columns negated so that the first ones are +1. */
KRN_CONSTANT uint32_t constant_row(int order, int transposed, int i) {
    return from_first(order, constructed_row(order, transposed, i)) ^
           from_first(order, constructed_row(order, transposed, 0));
}

#endif
