/* The scalar reference of native/include/kernels/hadamard.h: it defines the bits. */
#include "common/convert.h"
#include "hadamard/hadamard_variants.h"

static int is_negative(const uint8_t *signs, int64_t i) {
    return signs != NULL && ((signs[i / 8] >> (i % 8)) & 1) != 0;
}

static void negate(const uint8_t *signs, int64_t n, float *x) {
    for (int64_t i = 0; i < n; i++)
        x[i] = is_negative(signs, i) ? -x[i] : x[i];
}

static void apply_levels(int64_t n, int32_t levels, float *x) {
    for (int64_t h = 1; h < (int64_t)1 << levels; h *= 2) {
        for (int64_t i = 0; i < n; i++) {
            if ((i & h) != 0)
                continue;
            const float a = x[i], b = x[i + h];
            x[i] = a + b;
            x[i + h] = a - b;
        }
    }
}

/* The sum of four elements with their signs, the first sign taken out. */
static float term(uint8_t signs, const float x[4]) {
    const int g0 = signs >> 4 & 1, g1 = signs >> 5 & 1, g2 = signs >> 6 & 1, g3 = signs >> 7 & 1;
    const float low = g0 == g1 ? x[0] + x[1] : x[0] - x[1];
    const float high = g2 == g3 ? x[2] + x[3] : x[2] - x[3];
    const float sum = g0 == g2 ? low + high : low - high;
    return g0 ? -sum : sum;
}

/* One base over the elements x[i * stride], i < order. */
static void apply_base(const krn_hadamard_base *base, int64_t stride, float *x) {
    float column[KRN_HADAMARD_MAX_ORDER];
    for (int32_t i = 0; i < base->order; i++)
        column[i] = x[i * stride];
    for (int32_t i = 0; i < base->order; i++) {
        const uint8_t *signs = base->signs + i * (base->order / 4);
        float sum = term(signs[0], column);
        for (int32_t q = 1; q < base->order / 4; q++)
            sum += term(signs[q], column + 4 * q);
        x[i * stride] = sum;
    }
}

static void apply_bases(const krn_hadamard_plan *plan, float *x) {
    int64_t stride = (int64_t)1 << plan->levels;
    for (int32_t b = 0; b < plan->num_bases; b++) {
        const int64_t span = stride * plan->bases[b].order;
        for (int64_t from = 0; from < plan->n; from += span)
            for (int64_t s = 0; s < stride; s++)
                apply_base(&plan->bases[b], stride, x + from + s);
        stride = span;
    }
}

static void transform(const krn_hadamard_plan *plan, float *x) {
    negate(plan->signs_before, plan->n, x);
    apply_levels(plan->n, plan->levels, x);
    apply_bases(plan, x);
    for (int64_t i = 0; i < plan->n; i++)
        x[i] *= plan->scale;
    negate(plan->signs_after, plan->n, x);
}

static void row(const krn_hadamard_plan *plan, int64_t blocks, float *x) {
    for (int64_t b = 0; b < blocks; b++)
        transform(plan, x + b * plan->n);
}

static void run(const krn_hadamard_plan *plan, int32_t type, int64_t blocks, const void *source, void *target,
                float *scratch, krn_hadamard_hints hints) {
    (void)hints;
    for (int64_t b = 0; b < blocks; b++) {
        for (int64_t i = 0; i < plan->n; i++)
            scratch[i] = krn_float_at(type, source, b * plan->n + i);
        transform(plan, scratch);
        for (int64_t i = 0; i < plan->n; i++)
            krn_put_float(type, target, b * plan->n + i, scratch[i]);
    }
}

const krn_hadamard_kernels krn_hadamard_ref = {.name = "ref", .features = 0, .row = row, .run = run};
