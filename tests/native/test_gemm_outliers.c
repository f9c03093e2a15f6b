/* Outlier columns that weights fix: the bits of a call that finds the same columns, the contract of gemm.h for any
 * others, packing and unpacking, misuse. */
#include "gemm_oracle.h"

#include <math.h>
#include <string.h>

static const int32_t FORMATS[] = {KRN_TYPE_S8, KRN_TYPE_S4, KRN_TYPE_U4};
static const int32_t COMPUTES[] = {KRN_TYPE_S8, KRN_TYPE_U8, KRN_TYPE_S4};

static krn_context *contexts[8], *threaded[8];
static int num_levels;

/* The same columns fixed at packing as each call found: the same bits, in weights that were saved and loaded too. */
static void check_fixed_like_found(gemm_case *c, const krn_gemm_options *found, const krn_gemm_options *fixed) {
    const gemm_shape *s = &c->shape;
    const int64_t bytes = s->m == 0 ? 0 : ((s->m - 1) * c->ld + s->n) * type_bytes(s->output_type);
    for (int i = 0; i < num_levels; i++) {
        gemm_case plain = *c;
        plain.num_outliers = 0;
        plain.outlier_columns = NULL;
        plain.options = found;
        c->options = fixed;
        krn_weights *weights = gemm_case_pack(&plain, contexts[i]), *keeping = gemm_case_pack(c, contexts[i]);
        void *blob = guarded_allocate(krn_weights_blob_bytes(keeping), GUARD_END);
        krn_weights *loaded = NULL;
        CHECK_OK(krn_weights_save(keeping, blob, krn_weights_blob_bytes(keeping)));
        CHECK_OK(krn_weights_load(contexts[i], blob, krn_weights_blob_bytes(keeping), &loaded));
        const void *expected = gemm_case_run(&plain, contexts[i], weights, 0, s->m);
        const void *y = gemm_case_run(c, contexts[i], keeping, 0, s->m);
        const void *again = gemm_case_run(c, threaded[i], loaded, 0, s->m);
        CHECK(memcmp(expected, y, (size_t)bytes) == 0, "fixed columns give other bits than the same columns found");
        CHECK(memcmp(expected, again, (size_t)bytes) == 0, "loaded weights give other bits");
        krn_weights_destroy(weights);
        krn_weights_destroy(keeping);
        krn_weights_destroy(loaded);
    }
}

static void run_levels(const gemm_case *c, const gemm_case *expected) {
    for (int i = 0; i < num_levels; i++) {
        krn_weights *weights = gemm_case_pack(c, contexts[i]);
        const void *y = gemm_case_run(c, contexts[i], weights, 0, c->shape.m);
        const char *variant =
            krn_gemm_variant(contexts[i], c->shape.format, c->shape.activation_type, c->options->compute);
        gemm_case_check(expected, y, variant);
        krn_weights_destroy(weights);
    }
}

/* Columns that weights fix: those that a call would find, and any others with weights of their own. */
static void check_fixed(gemm_shape *shape, int32_t compute, test_random *random) {
    static const float THRESHOLDS[] = {2, 6, 30};
    gemm_case c = gemm_case_make(shape);
    const krn_gemm_options fixed = {.struct_size = sizeof fixed, .compute = compute},
                           plain = {sizeof plain, 0, 0, 0, 0};
    krn_gemm_options found = fixed;
    found.outlier_threshold = THRESHOLDS[random_between(random, 0, 2)];
    uint8_t *is_outlier = guarded_allocate(shape->k, GUARD_END);
    const int64_t num_found = outlier_columns(&c, found.outlier_threshold, is_outlier);
    int32_t *columns = guarded_allocate(num_found * 4, shape->side);
    for (int64_t k = 0, j = 0; k < shape->k; k++)
        if (is_outlier[k])
            columns[j++] = (int32_t)k;
    c.outlier_columns = num_found == 0 ? NULL : columns;
    c.num_outliers = num_found;
    check_fixed_like_found(&c, &found, &fixed);
    if (shape->k == 0)
        return;

    c.num_outliers = 0;
    for (int64_t k = 0; k < shape->k; k++)
        c.num_outliers += is_outlier[k] = random_between(random, 0, 9) == 0 || k == shape->k - 1;
    columns = guarded_allocate(c.num_outliers * 4, shape->side);
    for (int64_t k = 0, j = 0; k < shape->k; k++)
        if (is_outlier[k])
            columns[j++] = (int32_t)k;
    c.outlier_columns = columns;
    c.outlier_type = FLOAT_TYPES[random_between(random, 0, 2)];
    c.outlier_weights =
        shape->n == 0 ? NULL : random_matrix(random, c.outlier_type, shape->n, c.num_outliers, c.num_outliers);
    c.options = &fixed;
    gemm_case expected = quantized_case(&c, contexts[0], compute, is_outlier);
    expected.side = side_bits(&c, is_outlier, NULL);
    run_levels(&c, &expected);
    /* Calls that do not quantize take the codes. */
    c.options = &plain;
    run_levels(&c, &c);
}

static void sweep(void) {
    static const int64_t MS[] = {0, 1, 2, 13, 25}, NS[] = {0, 1, 33, 64, 70}, KS[] = {0, 1, 16, 33, 172, 600};
    static const int64_t GROUPS[] = {0, 0, 16, 20, 64};
    test_random random = {77};
    for (int turn = 0; turn < 120; turn++) {
        gemm_shape shape = {.format = FORMATS[turn % 3],
                            .activation_type = FLOAT_TYPES[random_between(&random, 0, 2)],
                            .output_type = KRN_TYPE_F32,
                            .m = pick(&random, MS, 5),
                            .n = pick(&random, NS, 5),
                            .k = pick(&random, KS, 6),
                            .group_size = pick(&random, GROUPS, 5),
                            .slack = random_between(&random, 0, 1) * 3,
                            .side = random_between(&random, 0, 1) == 1 ? GUARD_START : GUARD_END,
                            .seed = random_next(&random)};
        vary_weights(&random, &shape, 0);
        check_fixed(&shape, COMPUTES[turn / 3 % 3], &random);
        guarded_free_all();
    }
}

/* Columns and their weights come back, also those that were made from codes; and pack to the same bytes again. */
static void round_trip(void) {
    test_random random = {9};
    for (int turn = 0; turn < 24; turn++) {
        gemm_shape shape = {.format = FORMATS[turn % 3],
                            .activation_type = KRN_TYPE_F32,
                            .output_type = KRN_TYPE_F32,
                            .n = 37,
                            .k = 100,
                            .group_size = 20,
                            .side = GUARD_END,
                            .seed = random_next(&random)};
        vary_weights(&random, &shape, 0);
        gemm_case c = gemm_case_make(&shape);
        int32_t columns[] = {0, 1, 50, 99}, columns_back[4];
        c.outlier_columns = columns;
        c.num_outliers = 4;
        c.outlier_type = FLOAT_TYPES[turn % 3];
        if (turn < 12)
            c.outlier_weights = random_matrix(&random, c.outlier_type, 37, 4, 4);
        krn_weights *weights = gemm_case_pack(&c, contexts[0]), *again;
        const int64_t bytes = 37 * 4 * type_bytes(c.outlier_type), blob_bytes = krn_weights_blob_bytes(weights);
        void *back = guarded_allocate(bytes, GUARD_END);
        uint8_t *codes = guarded_allocate(37 * c.codes_ld_bytes, GUARD_END);
        const krn_weights_parts parts = {.struct_size = sizeof parts,
                                         .codes = codes,
                                         .codes_ld_bytes = c.codes_ld_bytes,
                                         .outlier_columns = columns_back,
                                         .outlier_weights = back};
        CHECK_OK(krn_weights_unpack(contexts[0], weights, &parts));
        CHECK(memcmp(columns, columns_back, sizeof columns) == 0, "other columns than were packed");
        CHECK(c.outlier_weights == NULL || memcmp(back, c.outlier_weights, (size_t)bytes) == 0,
              "other weights than were packed");
        c.outlier_weights = back;
        again = gemm_case_pack(&c, contexts[0]);
        uint8_t *blobs[2] = {guarded_allocate(blob_bytes, GUARD_END), guarded_allocate(blob_bytes, GUARD_END)};
        CHECK_OK(krn_weights_save(weights, blobs[0], blob_bytes));
        CHECK_OK(krn_weights_save(again, blobs[1], blob_bytes));
        CHECK(memcmp(blobs[0], blobs[1], (size_t)blob_bytes) == 0, "what was unpacked packs to other bytes");
        krn_weights_destroy(weights);
        krn_weights_destroy(again);
        guarded_free_all();
    }
}

static void refuse(const krn_weights_desc *desc, const krn_weights_source *source, krn_status expected,
                   const char *named) {
    krn_weights *weights = NULL;
    CHECK_STATUS(krn_weights_pack(contexts[0], desc, source, &weights), expected);
    CHECK(strstr(krn_last_error(), named) != NULL, "the message does not name %s: %s", named, krn_last_error());
    CHECK(weights == NULL, "a failing call wrote its output");
}

#define REFUSE(expected, named, change)                                                                                \
    do {                                                                                                               \
        krn_weights_desc d = gemm_case_desc(&c);                                                                       \
        krn_weights_source s = gemm_case_source(&c);                                                                   \
        change;                                                                                                        \
        refuse(&d, &s, expected, named);                                                                               \
    } while (0)

static void misuse_is_refused(void) {
    const gemm_shape shape = {.format = KRN_TYPE_S8,
                              .activation_type = KRN_TYPE_F32,
                              .output_type = KRN_TYPE_F32,
                              .m = 1,
                              .n = 3,
                              .k = 20,
                              .side = GUARD_END,
                              .seed = 4};
    gemm_case c = gemm_case_make(&shape);
    int32_t columns[] = {2, 7}, falling[] = {7, 2}, twice[] = {7, 7}, below[] = {-1, 2}, beyond[] = {2, 20};
    float values[6] = {0}, infinite[6] = {0, 0, 0, 0, INFINITY, 0}, large[3] = {1e9f, 1, 1};
    c.outlier_columns = columns;
    c.num_outliers = 2;
    REFUSE(KRN_ERROR_SHAPE, "desc->num_outliers", d.num_outliers = -1);
    REFUSE(KRN_ERROR_SHAPE, "desc->num_outliers", d.num_outliers = 21);
    REFUSE(KRN_ERROR_INVALID_ARGUMENT, "desc->num_outliers", d.format = KRN_TYPE_C4);
    REFUSE(KRN_ERROR_INVALID_ARGUMENT, "desc->outlier_type", d.outlier_type = KRN_TYPE_S8);
    REFUSE(KRN_ERROR_INVALID_ARGUMENT, "desc->reserved", d.reserved = 1);
    REFUSE(KRN_ERROR_NULL_ARGUMENT, "source->outlier_columns", s.outlier_columns = NULL);
    REFUSE(KRN_ERROR_INVALID_ARGUMENT, "source->outlier_columns[1]", s.outlier_columns = falling);
    REFUSE(KRN_ERROR_INVALID_ARGUMENT, "source->outlier_columns[1]", s.outlier_columns = twice);
    REFUSE(KRN_ERROR_INVALID_ARGUMENT, "source->outlier_columns[0]", s.outlier_columns = below);
    REFUSE(KRN_ERROR_INVALID_ARGUMENT, "source->outlier_columns[1]", s.outlier_columns = beyond);
    REFUSE(KRN_ERROR_NON_FINITE, "source->outlier_weights[4]", s.outlier_weights = infinite);
    REFUSE(KRN_ERROR_NON_FINITE, "source->codes", (d.outlier_type = KRN_TYPE_F16, s.scales = large));
    REFUSE(KRN_ERROR_INVALID_ARGUMENT, "source->outlier_columns", d.num_outliers = 0);
    REFUSE(KRN_ERROR_INVALID_ARGUMENT, "source->outlier_weights",
           (d.num_outliers = 0, s.outlier_columns = NULL, s.outlier_weights = values));
    REFUSE(KRN_ERROR_INVALID_ARGUMENT, "desc->outlier_type",
           (d.num_outliers = 0, s.outlier_columns = NULL, d.outlier_type = KRN_TYPE_F32));

    krn_weights *weights = gemm_case_pack(&c, contexts[0]);
    const krn_gemm_options options = {.struct_size = sizeof options, .compute = KRN_TYPE_S8, .outlier_threshold = 6};
    int64_t bytes = 0;
    CHECK_STATUS(krn_gemm_workspace_bytes(contexts[0], weights, KRN_TYPE_F32, &options, 1, &bytes),
                 KRN_ERROR_INVALID_ARGUMENT);
    CHECK(strstr(krn_last_error(), "options->outlier_threshold") != NULL, "%s", krn_last_error());
    krn_weights_destroy(weights);
    guarded_free_all();
}

int main(void) {
    int32_t levels[8];
    num_levels = tested_levels(levels);
    for (int i = 0; i < num_levels; i++) {
        contexts[i] = context_of(levels[i], 1);
        threaded[i] = context_of(levels[i], 3);
    }
    sweep();
    round_trip();
    misuse_is_refused();
    for (int i = 0; i < num_levels; i++) {
        krn_context_destroy(contexts[i]);
        krn_context_destroy(threaded[i]);
    }
    puts("gemm outliers: ok");
    return 0;
}
