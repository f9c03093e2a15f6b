/* The approximations behind the gates, against binary64: on every bf16 and on 2^24 floats, each the same bits in every
 * variant. The bounds are those of kernels/fused.h. Sanitizers and qemu, for which that is long, see 2^20 floats. */
#include "check.h"

#include "fused/activation.h"
#include "fused/fused_variants.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { COUNT = 4096 };

#define ADDRESS(variant) &variant,
static const krn_fused_kernels *const variants[] = {KRN_FUSED_VARIANTS(ADDRESS)};
#undef ADDRESS
enum { NUM_VARIANTS = sizeof variants / sizeof variants[0] };

/* Distance in units of the last place of the float nearest to `exact`, a normal number. */
static double ulps(float value, double exact) {
    int exponent;
    (void)frexp(exact, &exponent);
    return fabs((double)value - exact) / ldexp(1, exponent - FLT_MANT_DIG);
}

static double exact_gate(krn_gate_kind kind, double g) {
    switch (kind) {
    case KRN_GATE_SILU: return g / (1 + exp(-g));
    case KRN_GATE_GELU: return g / 2 * erfc(-g / sqrt(2));
    default: return g / (1 + exp(-2 * sqrt(2 / acos(-1)) * (g + 0.044715 * g * g * g)));
    }
}

typedef struct {
    double exp, silu, gelu, gelu_tanh;
} worst;

static void check_exp(float h, worst *w) {
    if (!(h >= -88.7f && h <= KRN_GATE_HIGHEST))
        return;
    const double error = ulps(krn_exp_negated(h), exp(-(double)h));
    w->exp = fmax(w->exp, error);
}

static void check_gate(krn_gate_kind kind, float g, float y, worst *w) {
    if (!isfinite(g)) {
        CHECK(isnan(g) ? isnan(y) : g > 0 ? y == g : isnan(y), "gate of %a is %a", (double)g, (double)y);
        return;
    }
    const double exact = exact_gate(kind, (double)g);
    if (kind != KRN_GATE_SILU) {
        double *most = kind == KRN_GATE_GELU ? &w->gelu : &w->gelu_tanh;
        if (fabsf(g) >= 0x1p-100f)
            *most = fmax(*most, fabs((double)y - exact) / (fabs((double)g) * 0x1p-24));
        return;
    }
    if (g < -88.73f)
        CHECK(y == 0 && signbit(y), "silu(%a) is %a", (double)g, (double)y);
    else if (g >= -88.7f && fabs(exact) >= (double)FLT_MIN)
        w->silu = fmax(w->silu, ulps(y, exact));
}

static int available[NUM_VARIANTS];

static void check_block(const float *g, worst *w) {
    static float ups[COUNT];
    static _Alignas(64) float expected[COUNT], y[COUNT];
    for (int i = 0; i < COUNT; i++)
        ups[i] = 1;
    for (int kind = KRN_GATE_SILU; kind <= KRN_GATE_GELU_TANH; kind++) {
        krn_row_sums sums = {0};
        krn_fused_ref.gate((krn_gate_kind)kind, KRN_TYPE_F32, g, ups, COUNT, (krn_ahead){0}, expected, &sums);
        for (int i = 0; i < COUNT; i++)
            check_gate((krn_gate_kind)kind, g[i], expected[i], w);
        for (int v = 0; v < NUM_VARIANTS - 1; v++) {
            if (!available[v])
                continue;
            variants[v]->gate((krn_gate_kind)kind, KRN_TYPE_F32, g, ups, COUNT, (krn_ahead){0}, y, &sums);
            for (int i = 0; i < COUNT; i++)
                CHECK(memcmp(&y[i], &expected[i], 4) == 0 || (isnan(y[i]) && isnan(expected[i])),
                      "gate %d of %a by %s is %a, not %a", kind, (double)g[i], variants[v]->name, (double)y[i],
                      (double)expected[i]);
        }
    }
    for (int i = 0; i < COUNT; i++)
        check_exp(g[i], w);
}

/* Under a sanitizer, or qemu, whose processor the test preset names. */
static int is_slow(void) {
#if defined(KRN_SANITIZED)
    return 1;
#else
    return getenv("QEMU_CPU") != NULL;
#endif
}

int main(void) {
    static float g[COUNT];
    worst w = {0};
    for (int v = 0; v < NUM_VARIANTS; v++) {
        available[v] = 1;
        for (uint64_t bit = 1; bit <= KRN_CPU_AVX512VBMI; bit *= 2)
            if ((variants[v]->features & bit) != 0 && (krn_cpu_features() & bit) == 0)
                available[v] = 0;
    }
    for (uint32_t first = 0; first < 1u << 16; first += COUNT) {
        for (uint32_t i = 0; i < COUNT; i++)
            g[i] = krn_bf16_to_f32((uint16_t)(first + i));
        check_block(g, &w);
    }
    /* Every 256th float, from another place of each 256. */
    const uint64_t stride = is_slow() ? 16 * COUNT : COUNT;
    for (uint64_t first = 0; first < UINT64_C(1) << 24; first += stride) {
        for (uint32_t i = 0; i < COUNT; i++)
            g[i] = krn_f32_from_bits((uint32_t)(first + i) << 8 | ((uint32_t)(first + i) * 2654435761u >> 24));
        check_block(g, &w);
    }
    printf("exp %.3f ulp, silu %.3f ulp, gelu %.3f and gelu_tanh %.3f units of 2^-24 |g|\n", w.exp, w.silu, w.gelu,
           w.gelu_tanh);
    CHECK(w.exp <= 1.1, "exp is off by %g ulp", w.exp);
    CHECK(w.silu <= 2.5, "silu is off by %g ulp", w.silu);
    CHECK(w.gelu <= 2.5, "gelu is off by %g", w.gelu);
    CHECK(w.gelu_tanh <= 2.5, "gelu_tanh is off by %g", w.gelu_tanh);
    puts("fused activation: ok");
    return 0;
}
