/* Every GEMM cell and variant: the reference against an oracle, integer variants bit for bit, float variants within the
 * bound of gemm.h; guard pages around every tensor, dirty outputs, ragged shapes, threads, and places in a batch. */
#include "gemm_case.h"

#include <math.h>
#include <string.h>

static const int32_t FORMATS[] = {KRN_TYPE_S8, KRN_TYPE_S4, KRN_TYPE_U4};
static const int32_t INTEGER_TYPES[] = {KRN_TYPE_S8, KRN_TYPE_U8, KRN_TYPE_S4};
static const int32_t FLOAT_TYPES[] = {KRN_TYPE_F32, KRN_TYPE_F16, KRN_TYPE_BF16};

/* One case on every level. A variant gives a row the same bits alone, in the batch, and on any number of threads. */
static void run_case(const gemm_shape *shape, krn_context *const *contexts, int num_contexts,
                     krn_context *const *threaded) {
    const gemm_case c = gemm_case_make(shape);
    for (int i = 0; i < num_contexts; i++) {
        krn_weights *weights = gemm_case_pack(&c, contexts[i]);
        const char *variant = krn_gemm_variant(contexts[i], shape->format, shape->activation_type, 0);
        const void *y = gemm_case_run(&c, contexts[i], weights, 0, shape->m);
        gemm_case_check(&c, y, variant);
        const void *again = gemm_case_run(&c, threaded[i], weights, 0, shape->m);
        const int64_t row_bytes = shape->n * type_bytes(shape->output_type);
        const int64_t stride = c.ld * type_bytes(shape->output_type);
        for (int64_t m = 0; m < shape->m; m++)
            CHECK(memcmp((const uint8_t *)y + m * stride, (const uint8_t *)again + m * stride, (size_t)row_bytes) == 0,
                  "%s: threads change row %lld", variant, (long long)m);
        if (shape->m > 1) {
            const int64_t m = shape->m / 2;
            const void *alone = gemm_case_run(&c, contexts[i], weights, m, 1);
            CHECK(memcmp((const uint8_t *)y + m * stride, alone, (size_t)row_bytes) == 0,
                  "%s: row %lld has other bits alone than in the batch", variant, (long long)m);
        }
        krn_weights_destroy(weights);
    }
    guarded_free_all();
}

static int64_t pick(test_random *random, const int64_t *values, int count) {
    return values[random_between(random, 0, count - 1)];
}

static void sweep(krn_context *const *contexts, int num_contexts, krn_context *const *threaded) {
    static const int64_t MS[] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 25, 40};
    static const int64_t NS[] = {0, 1, 5, 16, 31, 32, 33, 64, 70, 172};
    static const int64_t KS[] = {0, 1, 3, 7, 8, 16, 17, 31, 32, 33, 64, 100, 128, 172, 257, 300};
    static const int64_t GROUPS[] = {0, 0, 16, 17, 20, 32, 33, 64, 100, 128};
    static const int32_t OUTPUTS[] = {KRN_TYPE_F32, KRN_TYPE_F32, KRN_TYPE_F16, KRN_TYPE_BF16};
    test_random random = {2026};
    for (int turn = 0; turn < 60; turn++) {
        for (size_t f = 0; f < 3; f++) {
            for (int a = 0; a < 6; a++) {
                const gemm_shape shape = {.format = FORMATS[f],
                                          .activation_type = a < 3 ? INTEGER_TYPES[a] : FLOAT_TYPES[a - 3],
                                          .output_type = OUTPUTS[random_between(&random, 0, 3)],
                                          .m = pick(&random, MS, 16),
                                          .n = pick(&random, NS, 10),
                                          .k = pick(&random, KS, 16),
                                          .group_size = pick(&random, GROUPS, 10),
                                          .has_bias = random_between(&random, 0, 1) == 1,
                                          .has_residual = random_between(&random, 0, 1) == 1,
                                          .residual_is_output = random_between(&random, 0, 1) == 1,
                                          .slack = random_between(&random, 0, 2) * 3,
                                          .side = random_between(&random, 0, 1) == 1 ? GUARD_START : GUARD_END,
                                          .seed = random_next(&random)};
                run_case(&shape, contexts, num_contexts, threaded);
            }
        }
    }
}

/* Everything that weights may bring: scale types, offsets, codebooks, flattened groups, orders of inputs. */
static void weight_formats(krn_context *const *contexts, int num_contexts, krn_context *const *threaded) {
    static const int32_t ALL_FORMATS[] = {KRN_TYPE_S8, KRN_TYPE_S4, KRN_TYPE_U4, KRN_TYPE_C4, KRN_TYPE_C4};
    static const int32_t SCALE_TYPES[] = {KRN_TYPE_F32, KRN_TYPE_F16, KRN_TYPE_BF16, KRN_TYPE_U8};
    static const int32_t ZERO_TYPES[] = {0, 0, KRN_TYPE_F32, KRN_TYPE_F16, KRN_TYPE_BF16};
    static const int32_t ACTIVATIONS[] = {KRN_TYPE_S8,  KRN_TYPE_U8,  KRN_TYPE_S4,
                                          KRN_TYPE_F32, KRN_TYPE_F16, KRN_TYPE_BF16};
    static const int64_t MS[] = {1, 3, 4, 7, 12, 13, 30}, NS[] = {1, 5, 31, 32, 33, 65, 100},
                         KS[] = {1, 8, 17, 32, 48, 80, 100, 160, 172, 257, 400, 2100},
                         GROUPS[] = {0, 16, 17, 20, 32, 64, 128, 256};
    test_random random = {77};
    for (int turn = 0; turn < 400; turn++) {
        const int32_t format = ALL_FORMATS[random_between(&random, 0, 4)];
        const int order = (int)random_between(&random, 0, 3);
        gemm_shape shape = {.format = format,
                            .activation_type = ACTIVATIONS[random_between(&random, format == KRN_TYPE_C4 ? 3 : 0, 5)],
                            .output_type = KRN_TYPE_F32,
                            .m = pick(&random, MS, 7),
                            .n = pick(&random, NS, 7),
                            .k = pick(&random, KS, 12),
                            .group_size = pick(&random, GROUPS, 8),
                            .has_bias = random_between(&random, 0, 1) == 1,
                            .slack = random_between(&random, 0, 1) * 3,
                            .side = random_between(&random, 0, 1) == 1 ? GUARD_START : GUARD_END,
                            .seed = random_next(&random),
                            .scale_type = SCALE_TYPES[random_between(&random, 0, 3)],
                            .zero_type = format == KRN_TYPE_C4 ? 0 : ZERO_TYPES[random_between(&random, 0, 4)],
                            .ordered = order == 1,
                            .high_nibble_first = random_between(&random, 0, 1) == 1};
        if (order == 2) {
            /* K a multiple of 16, so that flattened groups of 64 split well. */
            shape.flattened = 1;
            shape.k = shape.k / 16 * 16 + 16;
            shape.group_size = 64;
        }
        run_case(&shape, contexts, num_contexts, threaded);
    }
}

/* Several groups of one length that fill K, of one chunk of a tile or more, for few tiles and for enough to share the
 * weights. */
static void whole_groups(krn_context *const *contexts, int num_contexts, krn_context *const *threaded) {
    static const int64_t GROUPS[] = {32, 64, 96, 128}, MS[] = {6, 17, 25};
    test_random random = {32};
    for (int f = 0; f < 3; f++) {
        for (int a = 0; a < 2; a++) {
            for (int g = 0; g < 4; g++) {
                const gemm_shape shape = {.format = FORMATS[f],
                                          .activation_type = INTEGER_TYPES[a],
                                          .output_type = KRN_TYPE_F32,
                                          .m = MS[(f + a + g) % 3],
                                          .n = 40,
                                          .k = 3 * GROUPS[g],
                                          .group_size = GROUPS[g],
                                          .side = g % 2 == 0 ? GUARD_START : GUARD_END,
                                          .seed = random_next(&random),
                                          .scale_type = g == 1   ? KRN_TYPE_F16
                                                        : g == 2 ? KRN_TYPE_U8
                                                                 : KRN_TYPE_F32};
                run_case(&shape, contexts, num_contexts, threaded);
            }
        }
    }
}

/* A Y of more than a megabyte goes past the caches: in whole panels where its rows begin on cache lines, else in lines
 * put together from two panels. */
static void large_outputs(krn_context *const *contexts, int num_contexts, krn_context *const *threaded) {
    static const int64_t NS[] = {4096, 4095, 4097, 4100, 4111};
    static const int32_t OUTPUTS[] = {KRN_TYPE_F32, KRN_TYPE_BF16};
    test_random random = {1024};
    for (int n = 0; n < 5; n++) {
        for (int output = 0; output < 2; output++) {
            const gemm_shape shape = {.format = FORMATS[n % 2],
                                      .activation_type = n % 3 == 2 ? KRN_TYPE_F32 : KRN_TYPE_S8,
                                      .output_type = OUTPUTS[output],
                                      .m = output == 0 ? 65 : 130,
                                      .n = NS[n],
                                      .k = 9,
                                      .has_bias = n == 1,
                                      .has_residual = n >= 3,
                                      .residual_is_output = n == 4,
                                      .slack = n == 2 ? 3 : 0,
                                      .side = n % 2 == 0 ? GUARD_START : GUARD_END,
                                      .seed = random_next(&random)};
            run_case(&shape, contexts, num_contexts, threaded);
        }
    }
}

/* int32 would overflow: 70000 * 127 * 255 > 2^31. Codes and activations at their extremes, all of one sign. */
static void huge_k_is_exact(krn_context *const *contexts, int num_contexts) {
    for (size_t f = 0; f < 4; f++) {
        for (size_t a = 0; a < 3; a++) {
            const gemm_shape shape = {.format = FORMATS[f % 3],
                                      .activation_type = INTEGER_TYPES[a],
                                      .output_type = KRN_TYPE_F32,
                                      .m = 3,
                                      .n = 2,
                                      .k = 140001,
                                      .group_size = f == 1 ? 70001 : 0,
                                      .side = GUARD_END,
                                      .seed = 7 + f,
                                      .scale_type = f == 3 ? KRN_TYPE_BF16 : 0,
                                      .zero_type = f == 3 ? KRN_TYPE_F16 : 0,
                                      .ordered = f == 3};
            gemm_case c = gemm_case_make(&shape);
            memset(c.codes,
                   shape.format == KRN_TYPE_S8   ? 0x80
                   : shape.format == KRN_TYPE_S4 ? 0x88
                                                 : 0xFF,
                   (size_t)(c.codes_ld_bytes * 2));
            memset((void *)(uintptr_t)c.activations.data,
                   shape.activation_type == KRN_TYPE_S8   ? 0x80
                   : shape.activation_type == KRN_TYPE_S4 ? 0x88
                                                          : 0xFF,
                   (size_t)(3 * krn_type_row_bytes(shape.activation_type, shape.k)));
            for (int64_t i = 0; i < shape.m && shape.activation_type == KRN_TYPE_U8; i++)
                ((int32_t *)(uintptr_t)c.activations.zero_points)[i] = 0;
            for (int i = 0; i < num_contexts; i++) {
                krn_weights *weights = gemm_case_pack(&c, contexts[i]);
                gemm_case_check(&c, gemm_case_run(&c, contexts[i], weights, 0, shape.m),
                                krn_gemm_variant(contexts[i], shape.format, shape.activation_type, 0));
                krn_weights_destroy(weights);
            }
            guarded_free_all();
        }
    }
}

/* IEEE special values reach the result as they should: one NaN or infinity poisons its row and no other. */
static void non_finite_activations_propagate(krn_context *const *contexts, int num_contexts) {
    for (size_t f = 0; f < 3; f++) {
        const gemm_shape shape = {.format = FORMATS[f],
                                  .activation_type = KRN_TYPE_F32,
                                  .output_type = KRN_TYPE_F32,
                                  .m = 14,
                                  .n = 40,
                                  .k = 50,
                                  .group_size = 16,
                                  .side = GUARD_END,
                                  .seed = 3};
        gemm_case c = gemm_case_make(&shape);
        ((float *)(uintptr_t)c.activations.data)[5 * 50 + 7] = NAN;
        for (int i = 0; i < num_contexts; i++) {
            krn_weights *weights = gemm_case_pack(&c, contexts[i]);
            const float *y = gemm_case_run(&c, contexts[i], weights, 0, shape.m);
            for (int64_t index = 0; index < shape.m * shape.n; index++)
                CHECK(!isnan(y[index]) == (index / shape.n != 5), "NaN in Y[%lld]", (long long)index);
            krn_weights_destroy(weights);
        }
        guarded_free_all();
    }
}

int main(void) {
    int32_t levels[8];
    krn_context *contexts[8], *threaded[8];
    const int count = tested_levels(levels);
    for (int i = 0; i < count; i++) {
        contexts[i] = context_of(levels[i], 1);
        threaded[i] = context_of(levels[i], 3);
    }
    sweep(contexts, count, threaded);
    weight_formats(contexts, count, threaded);
    whole_groups(contexts, count, threaded);
    large_outputs(contexts, count, threaded);
    huge_k_is_exact(contexts, count);
    non_finite_activations_propagate(contexts, count);
    for (int i = 0; i < count; i++) {
        krn_context_destroy(contexts[i]);
        krn_context_destroy(threaded[i]);
    }
    puts("gemm: ok");
    return 0;
}
