#include "gemm_case.h"

#include "common/half.h"

#include <math.h>
#include <string.h>

static void check_padding(const gemm_case *c, const void *y) {
    const int64_t bytes = type_bytes(c->shape.output_type);
    for (int64_t m = 0; m + 1 < c->shape.m; m++)
        for (int64_t i = (m * c->ld + c->shape.n) * bytes; i < (m + 1) * c->ld * bytes; i++) {
            const uint8_t *expected = c->residual != NULL && c->shape.residual_is_output ? c->residual : NULL;
            const uint8_t byte = ((const uint8_t *)y)[i];
            CHECK(byte == (expected == NULL ? 0xA5 : expected[i]), "row %lld: padding byte %lld was written",
                  (long long)m, (long long)i);
        }
}

/* Stored bits of a float result. */
static uint32_t bits_of(int32_t type, const void *y, int64_t index) {
    if (type == KRN_TYPE_F32)
        return krn_f32_bits(((const float *)y)[index]);
    return ((const uint16_t *)y)[index];
}

static uint32_t narrowed_bits(int32_t type, float value) {
    if (type == KRN_TYPE_F32)
        return krn_f32_bits(value);
    return type == KRN_TYPE_F16 ? krn_f32_to_f16(value) : krn_f32_to_bf16(value);
}

/* Half a unit in the last place of the output type, relative. */
static double output_rounding(int32_t type) {
    return type == KRN_TYPE_F32 ? 0 : type == KRN_TYPE_F16 ? ldexp(1, -11) : ldexp(1, -8);
}

void gemm_case_check(const gemm_case *c, const void *y, const char *variant) {
    const gemm_shape *s = &c->shape;
    const int is_neon_bf16 = strcmp(variant, "neon_bf16") == 0;
    const int bf16_entries = is_neon_bf16 || strcmp(variant, "avx512bf16") == 0;
    /* Half as many roundings as products, each of up to two halves of a unit (docs/numerics.md). */
    const int64_t roundings = s->k + (is_neon_bf16 ? 16 : 8);
    for (int64_t m = 0; m < s->m; m++) {
        for (int64_t n = 0; n < s->n; n++) {
            const int64_t index = m * c->ld + n;
            if (is_integer_type(s->activation_type)) {
                const uint32_t expected = narrowed_bits(s->output_type, integer_oracle(c, m, n));
                CHECK(bits_of(s->output_type, y, index) == expected,
                      "%s: format %d x %d, m%lld n%lld k%lld g%lld: Y[%lld,%lld] is %g, expected %g", variant,
                      s->format, s->activation_type, (long long)s->m, (long long)s->n, (long long)s->k,
                      (long long)s->group_size, (long long)m, (long long)n, float_element(s->output_type, y, index),
                      (double)integer_oracle(c, m, n));
                continue;
            }
            double magnitude, side_magnitude;
            const double exact = float_oracle(c, m, n, bf16_entries, &magnitude, &side_magnitude);
            const double got = float_element(s->output_type, y, index);
            const double compute = ((double)roundings * magnitude + c->side_error * side_magnitude) * ldexp(1, -24);
            const double bound = compute + (fabs(exact) + compute) * output_rounding(s->output_type) + ldexp(1, -24);
            CHECK(fabs(got - exact) <= bound,
                  "%s: format %d x %d, m%lld n%lld k%lld g%lld: Y[%lld,%lld] is %.9g, expected %.9g +- %.3g", variant,
                  s->format, s->activation_type, (long long)s->m, (long long)s->n, (long long)s->k,
                  (long long)s->group_size, (long long)m, (long long)n, got, exact, bound);
        }
    }
    check_padding(c, y);
}
