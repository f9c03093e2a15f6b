/* A checked transform, by value: what krn_hadamard_options mean for the arithmetic of kernels/hadamard.h. */
#ifndef KRN_HADAMARD_PLAN_H
#define KRN_HADAMARD_PLAN_H

#include "kernels/hadamard.h"

enum {
    /* No width of a model needs four. */
    KRN_HADAMARD_MAX_BASES = 3,
    KRN_HADAMARD_MAX_ORDER = 252,
};

/* A base matrix by the signs of its entries, or the transposed one. */
typedef struct krn_hadamard_base {
    /* m, a multiple of 4. */
    int32_t order;
    int32_t transposed;
    /* signs[i * m / 4 + q] has bit 4 + b set where entry (i, 4 q + b) is -1. In the upper half of the byte they are
     * multiples of 16, with which x86 addresses tables of 64 and 128 bytes per entry without another instruction. */
    const uint8_t *signs;
} krn_hadamard_base;

typedef struct krn_hadamard_plan {
    int64_t n;
    /* k of S_k. */
    int32_t levels;
    int32_t num_bases;
    /* In the order in which they are applied: the one with the smallest stride, 2^levels, first. */
    krn_hadamard_base bases[KRN_HADAMARD_MAX_BASES];
    float scale;
    /* n bits each, or NULL; in the order of application, whether inverse or not. */
    const uint8_t *signs_before;
    const uint8_t *signs_after;
} krn_hadamard_plan;

/* The plan of options; all of their errors. */
krn_status krn_hadamard_make_plan(const krn_hadamard_options *options, krn_hadamard_plan *plan);

/* The base of an order, made on first use; order 0 where there is none. From any thread. */
krn_hadamard_base krn_hadamard_base_of(int32_t order, int32_t transposed);

/* Whether there is a base of this order. */
int krn_hadamard_has_base(int64_t order);

#endif
