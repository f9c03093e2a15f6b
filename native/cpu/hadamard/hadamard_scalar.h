/* The transform of native/include/kernels/hadamard.h in scalars, compiled once for each precision by the file that
 * includes this header after it has defined the type `number`. As float it defines the bits. */
#ifndef KRN_HADAMARD_SCALAR_H
#define KRN_HADAMARD_SCALAR_H

#include "hadamard/hadamard_plan.h"

#include <stddef.h>

static int is_negative(const uint8_t *signs, int64_t i) {
    return signs != NULL && ((signs[i / 8] >> (i % 8)) & 1) != 0;
}

static void negate(const uint8_t *signs, int64_t n, number *x) {
    for (int64_t i = 0; i < n; i++)
        x[i] = is_negative(signs, i) ? -x[i] : x[i];
}

static void apply_levels(int64_t n, int32_t levels, number *x) {
    for (int64_t h = 1; h < (int64_t)1 << levels; h *= 2) {
        for (int64_t i = 0; i < n; i++) {
            if ((i & h) != 0)
                continue;
            const number a = x[i], b = x[i + h];
            x[i] = a + b;
            x[i + h] = a - b;
        }
    }
}

/* The sum of four elements with their signs, the first sign taken out. */
static number term(uint8_t signs, const number x[4]) {
    const int g0 = signs >> 4 & 1, g1 = signs >> 5 & 1, g2 = signs >> 6 & 1, g3 = signs >> 7 & 1;
    const number low = g0 == g1 ? x[0] + x[1] : x[0] - x[1];
    const number high = g2 == g3 ? x[2] + x[3] : x[2] - x[3];
    const number sum = g0 == g2 ? low + high : low - high;
    return g0 ? -sum : sum;
}

/* One base over the elements x[i * stride], i < order. */
static void apply_base(const krn_hadamard_base *base, int64_t stride, number *x) {
    number column[KRN_HADAMARD_MAX_ORDER];
    for (int32_t i = 0; i < base->order; i++)
        column[i] = x[i * stride];
    for (int32_t i = 0; i < base->order; i++) {
        const uint8_t *signs = base->signs + i * (base->order / 4);
        number sum = term(signs[0], column);
        for (int32_t q = 1; q < base->order / 4; q++)
            sum += term(signs[q], column + 4 * q);
        x[i * stride] = sum;
    }
}

static void apply_bases(const krn_hadamard_plan *plan, number *x) {
    int64_t stride = (int64_t)1 << plan->levels;
    for (int32_t b = 0; b < plan->num_bases; b++) {
        const int64_t span = stride * plan->bases[b].order;
        for (int64_t from = 0; from < plan->n; from += span)
            for (int64_t s = 0; s < stride; s++)
                apply_base(&plan->bases[b], stride, x + from + s);
        stride = span;
    }
}

static void transform_row(const krn_hadamard_plan *plan, number scale, number *x) {
    negate(plan->signs_before, plan->n, x);
    apply_levels(plan->n, plan->levels, x);
    apply_bases(plan, x);
    for (int64_t i = 0; i < plan->n; i++)
        x[i] *= scale;
    negate(plan->signs_after, plan->n, x);
}

#endif
