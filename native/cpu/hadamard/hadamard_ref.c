/* The scalar reference of native/include/kernels/hadamard.h: it defines the bits. */
#include "common/convert.h"
#include "hadamard/hadamard_variants.h"

typedef float number;

#include "hadamard/hadamard_scalar.h"

static void row(const krn_hadamard_plan *plan, int32_t type, int64_t blocks, const void *source, krn_ahead ahead,
                float *x) {
    (void)ahead;
    for (int64_t b = 0; b < blocks; b++) {
        for (int64_t i = b * plan->n; i < (b + 1) * plan->n; i++)
            x[i] = krn_float_at(type, source, i);
        transform_row(plan, plan->scale, x + b * plan->n);
    }
}

static void run(const krn_hadamard_plan *plan, int32_t type, int64_t blocks, const void *source, void *target,
                float *scratch, krn_hadamard_hints hints) {
    (void)hints;
    for (int64_t b = 0; b < blocks; b++) {
        float *x = type == KRN_TYPE_F32 ? (float *)target + b * plan->n : scratch;
        for (int64_t i = 0; i < plan->n; i++)
            x[i] = krn_float_at(type, source, b * plan->n + i);
        transform_row(plan, plan->scale, x);
        for (int64_t i = 0; i < plan->n; i++)
            krn_put_float(type, target, b * plan->n + i, x[i]);
    }
}

const krn_hadamard_kernels krn_hadamard_ref = {.name = "ref", .features = 0, .row = row, .run = run};
