/* What krn_gemm does on the way: quantization per token, outlier columns, LoRA. Against krn_quantize and an oracle bit
 * for bit where arithmetic is integer, else within the bound; every level, threads, places in a batch, guard pages. */
#include "gemm_oracle.h"

#include <math.h>
#include <string.h>

static const int32_t FORMATS[] = {KRN_TYPE_S8, KRN_TYPE_S4, KRN_TYPE_U4};
static const int32_t COMPUTES[] = {0, KRN_TYPE_S8, KRN_TYPE_U8, KRN_TYPE_S4};

static krn_context *contexts[8], *threaded[8];
static int num_levels;

/* The exact LoRA term, and the magnitudes that bound its error. */
static void exact_lora(gemm_case *c, const krn_lora *lora) {
    const gemm_shape *s = &c->shape;
    double *side = guarded_allocate(s->m * s->n * 8, GUARD_END);
    double *magnitude = guarded_allocate(s->m * s->n * 8, GUARD_END);
    for (int64_t m = 0; m < s->m; m++) {
        for (int64_t n = 0; n < s->n; n++) {
            const int64_t index = m * s->n + n;
            side[index] = magnitude[index] = 0;
            for (int64_t j = 0; j < lora->rank; j++) {
                double p = 0, size = 0;
                for (int64_t k = 0; k < s->k; k++) {
                    const double product =
                        case_activation(c, m, k) * float_element(lora->type, lora->a, j * lora->a_ld + k);
                    p += product;
                    size += fabs(product);
                }
                const double b = (double)lora->scale * float_element(lora->type, lora->b, n * lora->b_ld + j);
                side[index] += p * b;
                magnitude[index] += size * fabs(b);
            }
        }
    }
    c->exact_side = side;
    c->side_magnitude = magnitude;
    c->side_error = (double)s->k / 16 + (double)lora->rank + 12;
}

/* One case on every level, at other thread counts, and a row alone where the outlier columns do not depend on the
 * batch. */
static void run_case(const gemm_case *c, const gemm_case *expected) {
    const gemm_shape *s = &c->shape;
    for (int i = 0; i < num_levels; i++) {
        krn_weights *weights = gemm_case_pack(c, contexts[i]);
        const char *variant = krn_gemm_variant(contexts[i], s->format, s->activation_type, c->options->compute);
        CHECK(variant != NULL, "no variant");
        const void *y = gemm_case_run(c, contexts[i], weights, 0, s->m);
        gemm_case_check(expected, y, variant);
        const void *again = gemm_case_run(c, threaded[i], weights, 0, s->m);
        const int64_t row_bytes = s->n * type_bytes(s->output_type), stride = c->ld * type_bytes(s->output_type);
        for (int64_t m = 0; m < s->m; m++)
            CHECK(memcmp((const uint8_t *)y + m * stride, (const uint8_t *)again + m * stride, (size_t)row_bytes) == 0,
                  "%s: threads change row %lld", variant, (long long)m);
        if (s->m > 1 && c->options->outlier_threshold == 0) {
            const int64_t m = s->m / 2;
            const void *alone = gemm_case_run(c, contexts[i], weights, m, 1);
            CHECK(memcmp((const uint8_t *)y + m * stride, alone, (size_t)row_bytes) == 0,
                  "%s: row %lld has other bits alone than in the batch", variant, (long long)m);
        }
        krn_weights_destroy(weights);
    }
}

/* A case with everything that the options ask for. */
static void check_shape(const gemm_shape *shape, const krn_gemm_options *options) {
    gemm_case c = gemm_case_make(shape);
    c.options = options;
    uint8_t *is_outlier = guarded_allocate(shape->k, GUARD_END);
    const int64_t num_outliers = outlier_columns(&c, options->outlier_threshold, is_outlier);
    gemm_case expected = options->compute != 0 ? quantized_case(&c, contexts[0], options->compute, is_outlier) : c;
    if (num_outliers > 0 || options->lora != NULL)
        expected.side = side_bits(&c, is_outlier, options->lora);
    if (options->compute == 0 && options->lora != NULL)
        exact_lora(&expected, options->lora);
    run_case(&c, &expected);
    guarded_free_all();
}

static void sweep(void) {
    static const int64_t MS[] = {0, 1, 1, 2, 5, 7, 12, 13, 25, 40};
    static const int64_t NS[] = {0, 1, 5, 31, 32, 33, 64, 70};
    static const int64_t KS[] = {0, 1, 7, 15, 16, 17, 33, 64, 100, 172, 257, 300, 600};
    static const int64_t GROUPS[] = {0, 0, 16, 17, 20, 32, 64, 128};
    static const float THRESHOLDS[] = {0, 0, 2, 6, 30, 1e9f};
    static const int32_t OUTPUTS[] = {KRN_TYPE_F32, KRN_TYPE_F32, KRN_TYPE_F16, KRN_TYPE_BF16};
    test_random random = {2027};
    for (int turn = 0; turn < 480; turn++) {
        gemm_shape shape = {.format = FORMATS[turn % 3],
                            .activation_type = FLOAT_TYPES[random_between(&random, 0, 2)],
                            .output_type = OUTPUTS[random_between(&random, 0, 3)],
                            .m = pick(&random, MS, 10),
                            .n = pick(&random, NS, 8),
                            .k = pick(&random, KS, 13),
                            .group_size = pick(&random, GROUPS, 8),
                            .has_bias = random_between(&random, 0, 1) == 1,
                            .has_residual = random_between(&random, 0, 1) == 1,
                            .residual_is_output = random_between(&random, 0, 1) == 1,
                            .slack = random_between(&random, 0, 2) * 3,
                            .side = random_between(&random, 0, 1) == 1 ? GUARD_START : GUARD_END,
                            .seed = random_next(&random)};
        krn_gemm_options options = {.struct_size = sizeof options, .compute = COMPUTES[turn / 3 % 4]};
        vary_weights(&random, &shape, options.compute == 0);
        if (options.compute != 0)
            options.outlier_threshold = THRESHOLDS[random_between(&random, 0, 5)];
        krn_lora lora;
        if (random_between(&random, 0, 1) == 1) {
            lora = random_lora(&random, &shape);
            options.lora = &lora;
        }
        check_shape(&shape, &options);
    }
}

/* Channels that the tiles take in steps, and groups that int32 sums do not hold. */
static void long_channels(void) {
    static const int64_t KS[] = {5000, 9001, 70001};
    test_random random = {5};
    for (int turn = 0; turn < 6; turn++) {
        const gemm_shape shape = {.format = FORMATS[turn % 3],
                                  .activation_type = FLOAT_TYPES[turn % 2],
                                  .output_type = KRN_TYPE_F32,
                                  .m = KS[turn / 2] == 70001 ? 2 : 26,
                                  .n = 34,
                                  .k = KS[turn / 2],
                                  .side = GUARD_END,
                                  .seed = random_next(&random)};
        const krn_lora lora = random_lora(&random, &shape);
        const krn_gemm_options options = {
            .struct_size = sizeof options, .compute = KRN_TYPE_S8, .outlier_threshold = 60, .lora = &lora};
        check_shape(&shape, &options);
    }
}

/* NaN and infinity, in an outlier column and beside it: a status that names the element, and Y as it was. */
static void non_finite_is_refused(void) {
    static const float BAD[] = {NAN, INFINITY, -INFINITY};
    for (int i = 0; i < num_levels; i++) {
        for (int turn = 0; turn < 12; turn++) {
            const gemm_shape shape = {.format = KRN_TYPE_S8,
                                      .activation_type = KRN_TYPE_F32,
                                      .output_type = KRN_TYPE_F32,
                                      .m = 14,
                                      .n = 40,
                                      .k = 50,
                                      .side = GUARD_END,
                                      .seed = 3};
            const gemm_case c = gemm_case_make(&shape);
            float *x = (float *)(uintptr_t)c.activations.data;
            x[13 * 50 + 7] = BAD[turn % 3];
            /* The column is an outlier by another row. */
            x[2 * 50 + 7] = turn < 6 ? 100 : 0;
            const krn_gemm_options options = {.struct_size = sizeof options,
                                              .compute = turn % 2 == 0 ? KRN_TYPE_S8 : KRN_TYPE_U8,
                                              .outlier_threshold = turn % 4 < 2 ? 6 : 0};
            krn_weights *weights = gemm_case_pack(&c, contexts[i]);
            float y[14 * 40];
            memset(y, 0x5A, sizeof y);
            const krn_gemm_output output = {.struct_size = sizeof output, .type = KRN_TYPE_F32, .data = y, .ld = 40};
            int64_t bytes = 0;
            CHECK_OK(krn_gemm_workspace_bytes(contexts[i], weights, KRN_TYPE_F32, &options, 14, &bytes));
            void *workspace = guarded_allocate(bytes, GUARD_END);
            CHECK_STATUS(krn_gemm(contexts[i], weights, 14, &c.activations, &output, &options, workspace, bytes),
                         KRN_ERROR_NON_FINITE);
            CHECK(strstr(krn_last_error(), "activations->data[13, 7]") != NULL, "%s", krn_last_error());
            for (size_t b = 0; b < sizeof y; b++)
                CHECK(((uint8_t *)y)[b] == 0x5A, "a failing call wrote Y");
            krn_weights_destroy(weights);
            guarded_free_all();
        }
    }
}

int main(void) {
    int32_t levels[8];
    num_levels = tested_levels(levels);
    for (int i = 0; i < num_levels; i++) {
        contexts[i] = context_of(levels[i], 1);
        threaded[i] = context_of(levels[i], 3);
    }
    sweep();
    long_channels();
    non_finite_is_refused();
    for (int i = 0; i < num_levels; i++) {
        krn_context_destroy(contexts[i]);
        krn_context_destroy(threaded[i]);
    }
    puts("gemm options: ok");
    return 0;
}
