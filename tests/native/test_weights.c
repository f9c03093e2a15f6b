/* Packed weights: what goes in comes out, sizes are as promised, blobs survive a round trip, damage and misuse do not. */
#include "gemm_case.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static krn_context *context;

static krn_weights_desc describe(int32_t format, int64_t n, int64_t k, int64_t group_size) {
    return (krn_weights_desc){
        .struct_size = sizeof(krn_weights_desc), .format = format, .n = n, .k = k, .group_size = group_size};
}

static void check_unpacked(const gemm_case *c, const krn_weights *weights) {
    const gemm_shape *s = &c->shape;
    const int64_t row_bytes = krn_type_row_bytes(s->format, s->k);
    uint8_t *codes = guarded_allocate(s->n * row_bytes, GUARD_END);
    float *scales = guarded_allocate(s->n * c->num_groups * 4, GUARD_END);
    int32_t *zeros = guarded_allocate(s->n * c->num_groups * 4, GUARD_END);
    CHECK_OK(krn_weights_unpack(context, weights, codes, row_bytes, scales, zeros));
    for (int64_t n = 0; n < s->n; n++) {
        /* The last high nibble of a row of odd width carries no element: it comes out as zero. */
        for (int64_t b = 0; b < row_bytes; b++) {
            const int is_half = s->format != KRN_TYPE_S8 && s->k % 2 == 1 && b + 1 == row_bytes;
            const uint8_t expected = (uint8_t)(c->codes[n * c->codes_ld_bytes + b] & (is_half ? 15 : 255));
            CHECK(codes[n * row_bytes + b] == expected, "row %lld byte %lld is %d, expected %d", (long long)n,
                  (long long)b, codes[n * row_bytes + b], expected);
        }
    }
    CHECK(s->n * c->num_groups == 0 || memcmp(scales, c->scales, (size_t)(s->n * c->num_groups) * 4) == 0,
          "scales changed");
    for (int64_t i = 0; i < s->n * c->num_groups; i++)
        CHECK(zeros[i] == (c->zero_points == NULL ? 0 : c->zero_points[i]), "zero point %lld changed", (long long)i);
}

static void round_trips(void) {
    static const int32_t FORMATS[] = {KRN_TYPE_S8, KRN_TYPE_S4, KRN_TYPE_U4};
    static const int64_t NS[] = {0, 1, 31, 32, 33, 100}, KS[] = {0, 1, 7, 8, 33, 128, 257},
                         GROUPS[] = {0, 16, 17, 32, 100};
    for (size_t f = 0; f < 3; f++)
        for (size_t n = 0; n < 6; n++)
            for (size_t k = 0; k < 7; k++)
                for (size_t g = 0; g < 5; g++) {
                    const gemm_shape shape = {.format = FORMATS[f],
                                              .activation_type = KRN_TYPE_F32,
                                              .output_type = KRN_TYPE_F32,
                                              .n = NS[n],
                                              .k = KS[k],
                                              .group_size = GROUPS[g],
                                              .slack = (int64_t)(g % 2) * 5,
                                              .side = g % 2 == 0 ? GUARD_END : GUARD_START,
                                              .seed = f + n + k + g};
                    const gemm_case c = gemm_case_make(&shape);
                    krn_weights *weights = gemm_case_pack(&c, context), *loaded = NULL;
                    check_unpacked(&c, weights);
                    const int64_t bytes = krn_weights_blob_bytes(weights);
                    void *blob = guarded_allocate(bytes, GUARD_END), *again = guarded_allocate(bytes, GUARD_START);
                    CHECK_OK(krn_weights_save(weights, blob, bytes));
                    CHECK_OK(krn_weights_load(context, blob, bytes, &loaded));
                    check_unpacked(&c, loaded);
                    CHECK_OK(krn_weights_save(loaded, again, bytes));
                    CHECK(memcmp(blob, again, (size_t)bytes) == 0, "equal weights gave different blobs");
                    krn_weights_destroy(weights);
                    krn_weights_destroy(loaded);
                    guarded_free_all();
                }
}

static double bits_per_weight(int32_t format, int64_t n, int64_t k, int64_t group_size) {
    const krn_weights_desc desc = describe(format, n, k, group_size);
    int64_t bytes = 0;
    CHECK_OK(krn_weights_packed_bytes(context, &desc, &bytes));
    return 8.0 * (double)bytes / (double)(n * k);
}

static void sizes_are_small(void) {
    CHECK(bits_per_weight(KRN_TYPE_S4, 4096, 4096, 128) <= 4.40, "s4 g128 takes %.4f bits",
          bits_per_weight(KRN_TYPE_S4, 4096, 4096, 128));
    CHECK(bits_per_weight(KRN_TYPE_U4, 4096, 4096, 128) <= 4.40, "u4 g128 takes %.4f bits",
          bits_per_weight(KRN_TYPE_U4, 4096, 4096, 128));
    CHECK(bits_per_weight(KRN_TYPE_S8, 4096, 4096, 0) <= 8.1, "s8 takes %.4f bits",
          bits_per_weight(KRN_TYPE_S8, 4096, 4096, 0));
}

/* Every byte of a blob matters: flip one and it is refused; so are other lengths. */
static void damage_is_refused(void) {
    const gemm_shape shape = {.format = KRN_TYPE_U4,
                              .activation_type = KRN_TYPE_F32,
                              .output_type = KRN_TYPE_F32,
                              .n = 33,
                              .k = 40,
                              .group_size = 16,
                              .side = GUARD_END,
                              .seed = 11};
    const gemm_case c = gemm_case_make(&shape);
    krn_weights *weights = gemm_case_pack(&c, context), *loaded = NULL;
    const int64_t bytes = krn_weights_blob_bytes(weights);
    uint8_t *blob = guarded_allocate(bytes, GUARD_END);
    CHECK_OK(krn_weights_save(weights, blob, bytes));
    for (int64_t i = 0; i < bytes; i++) {
        blob[i] ^= 0x10;
        const krn_status status = krn_weights_load(context, blob, bytes, &loaded);
        CHECK(status == KRN_ERROR_BLOB_FORMAT || status == KRN_ERROR_BLOB_CHECKSUM, "byte %lld flipped gave %s",
              (long long)i, krn_status_name(status));
        CHECK(i < 64 || status == KRN_ERROR_BLOB_CHECKSUM, "byte %lld flipped gave %s", (long long)i,
              krn_status_name(status));
        blob[i] ^= 0x10;
    }
    for (int64_t length = 0; length < bytes; length += 13) {
        uint8_t *part = guarded_allocate(length, GUARD_END);
        if (length > 0)
            memcpy(part, blob, (size_t)length);
        CHECK_STATUS(krn_weights_load(context, part, length, &loaded), KRN_ERROR_BLOB_FORMAT);
    }
    CHECK(loaded == NULL, "a refused blob wrote its output");
    CHECK_STATUS(krn_weights_save(weights, blob, bytes - 1), KRN_ERROR_BUFFER_TOO_SMALL);
    krn_weights_destroy(weights);
    guarded_free_all();
}

static void floats_pack_like_the_quantizer(void) {
    enum { N = 40, K = 70 };
    float *source = guarded_allocate(N * K * 4, GUARD_END);
    test_random random = {5};
    for (int i = 0; i < N * K; i++)
        source[i] = random_activation(&random);
    static const int32_t FORMATS[] = {KRN_TYPE_S8, KRN_TYPE_S4, KRN_TYPE_U4};
    static const int64_t GROUPS[] = {0, 32};
    for (int f = 0; f < 3; f++)
        for (int g = 0; g < 2; g++) {
            const krn_weights_desc desc = describe(FORMATS[f], N, K, GROUPS[g]);
            krn_weights *weights = NULL;
            krn_quantize_error error = {-1, -1};
            CHECK_OK(krn_weights_pack_float(context, &desc, KRN_TYPE_F32, source, K, 1.0f, &weights, &error));
            CHECK(error.mean_squared_error > 0 && error.max_abs_error > 0, "no error was reported");
            uint8_t codes[N * K];
            float scales[N * 3];
            int32_t zeros[N * 3];
            const int64_t row_bytes = krn_type_row_bytes(FORMATS[f], K);
            CHECK_OK(krn_weights_unpack(context, weights, codes, row_bytes, scales, zeros));
            uint8_t expected_codes[N * K];
            float expected_scales[N * 3];
            int32_t expected_zeros[N * 3];
            const krn_quantize_options options = {.struct_size = sizeof options,
                                                  .type = FORMATS[f],
                                                  .granularity =
                                                      GROUPS[g] == 0 ? KRN_GRANULARITY_CHANNEL : KRN_GRANULARITY_GROUP,
                                                  .asymmetric = FORMATS[f] == KRN_TYPE_U4,
                                                  .group_size = GROUPS[g]};
            CHECK_OK(krn_quantize(context, &options, N, K, KRN_TYPE_F32, source, K, expected_codes, row_bytes,
                                  expected_scales, expected_zeros, NULL));
            const size_t count = (size_t)(GROUPS[g] == 0 ? N : N * 3);
            CHECK(memcmp(codes, expected_codes, (size_t)(N * row_bytes)) == 0, "codes differ from the quantizer's");
            CHECK(memcmp(scales, expected_scales, count * 4) == 0, "scales differ from the quantizer's");
            CHECK(FORMATS[f] != KRN_TYPE_U4 || memcmp(zeros, expected_zeros, count * 4) == 0,
                  "zero points differ from the quantizer's");
            krn_weights_destroy(weights);
        }
    krn_weights *weights = NULL;
    const krn_weights_desc desc = describe(KRN_TYPE_S8, N, K, 0);
    source[N * K - 1] = INFINITY;
    CHECK_STATUS(krn_weights_pack_float(context, &desc, KRN_TYPE_F32, source, K, 1.0f, &weights, NULL),
                 KRN_ERROR_NON_FINITE);
    CHECK_STATUS(krn_weights_pack_float(context, &desc, KRN_TYPE_F32, source, K - 1, 1.0f, &weights, NULL),
                 KRN_ERROR_LEADING_DIMENSION);
    CHECK_STATUS(krn_weights_pack_float(context, &desc, KRN_TYPE_S8, source, K, 1.0f, &weights, NULL),
                 KRN_ERROR_INVALID_ARGUMENT);
    CHECK(weights == NULL, "a failing call wrote its output");
    guarded_free_all();
}

static void misuse_is_refused(void) {
    uint8_t codes[64] = {0};
    float scales[4] = {1, 1, 1, 1};
    int32_t zeros[4] = {0};
    krn_weights *weights = NULL;
    krn_weights_desc desc = describe(KRN_TYPE_S8, 4, 16, 0);
    CHECK_STATUS(krn_weights_pack(NULL, &desc, codes, 16, scales, NULL, &weights), KRN_ERROR_NULL_ARGUMENT);
    CHECK_STATUS(krn_weights_pack(context, NULL, codes, 16, scales, NULL, &weights), KRN_ERROR_NULL_ARGUMENT);
    CHECK_STATUS(krn_weights_pack(context, &desc, NULL, 16, scales, NULL, &weights), KRN_ERROR_NULL_ARGUMENT);
    CHECK_STATUS(krn_weights_pack(context, &desc, codes, 16, NULL, NULL, &weights), KRN_ERROR_NULL_ARGUMENT);
    CHECK_STATUS(krn_weights_pack(context, &desc, codes, 16, scales, NULL, NULL), KRN_ERROR_NULL_ARGUMENT);
    CHECK_STATUS(krn_weights_pack(context, &desc, codes, 16, scales, zeros, &weights), KRN_ERROR_INVALID_ARGUMENT);
    CHECK_STATUS(krn_weights_pack(context, &desc, codes, 15, scales, NULL, &weights), KRN_ERROR_LEADING_DIMENSION);
    scales[3] = NAN;
    CHECK_STATUS(krn_weights_pack(context, &desc, codes, 16, scales, NULL, &weights), KRN_ERROR_NON_FINITE);
    scales[3] = 1;
    desc.format = KRN_TYPE_U4;
    CHECK_STATUS(krn_weights_pack(context, &desc, codes, 16, scales, NULL, &weights), KRN_ERROR_NULL_ARGUMENT);
    zeros[2] = 16;
    CHECK_STATUS(krn_weights_pack(context, &desc, codes, 16, scales, zeros, &weights), KRN_ERROR_INVALID_ARGUMENT);
    desc.format = KRN_TYPE_U8;
    CHECK_STATUS(krn_weights_pack(context, &desc, codes, 16, scales, zeros, &weights), KRN_ERROR_INVALID_ARGUMENT);
    desc = describe(KRN_TYPE_S8, 4, 16, 15);
    CHECK_STATUS(krn_weights_pack(context, &desc, codes, 16, scales, NULL, &weights), KRN_ERROR_INVALID_ARGUMENT);
    desc = describe(KRN_TYPE_S8, -1, 16, 0);
    CHECK_STATUS(krn_weights_pack(context, &desc, codes, 16, scales, NULL, &weights), KRN_ERROR_SHAPE);
    desc = describe(KRN_TYPE_S8, 4, ((int64_t)1 << 30) + 1, 0);
    CHECK_STATUS(krn_weights_pack(context, &desc, codes, INT64_MAX, scales, NULL, &weights), KRN_ERROR_SHAPE);
    desc = describe(KRN_TYPE_S8, 4, 16, 0);
    desc.struct_size = 8;
    CHECK_STATUS(krn_weights_pack(context, &desc, codes, 16, scales, NULL, &weights), KRN_ERROR_STRUCT_SIZE);
    CHECK(weights == NULL, "a failing call wrote its output");
    CHECK(krn_weights_bytes(NULL) == 0 && krn_weights_blob_bytes(NULL) == 0, "sizes of NULL");
    CHECK_STATUS(krn_weights_describe(NULL, &desc), KRN_ERROR_NULL_ARGUMENT);
    CHECK_STATUS(krn_weights_load(context, NULL, 0, &weights), KRN_ERROR_NULL_ARGUMENT);
    krn_weights_destroy(NULL);
}

int main(void) {
    context = context_of(KRN_ISA_AUTO, 2);
    round_trips();
    sizes_are_small();
    damage_is_refused();
    floats_pack_like_the_quantizer();
    misuse_is_refused();
    krn_context_destroy(context);
    puts("weights: ok");
    return 0;
}
