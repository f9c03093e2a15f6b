/* krn_weights_pack_float: the same codes and scales as krn_quantize makes, in every format that it takes. */
#include "gemm_case.h"

#include <math.h>
#include <string.h>

enum { N = 70, K = 80, MAX_SCALES = N * 5 };

static krn_context *context;

static krn_weights_desc describe(int32_t format, int64_t group_size, int32_t scale_type) {
    return (krn_weights_desc){.struct_size = sizeof(krn_weights_desc),
                              .format = format,
                              .n = N,
                              .k = K,
                              .group_size = group_size,
                              .scale_type = scale_type};
}

/* What krn_weights_unpack gives, with scales and offsets as floats. */
typedef struct {
    uint8_t codes[N * K];
    float scales[MAX_SCALES], offsets[MAX_SCALES];
    int32_t zeros[MAX_SCALES];
} quantized;

static void unpack(const krn_weights *weights, const krn_weights_desc *desc, int64_t count, quantized *q) {
    uint8_t scales[MAX_SCALES * 4], offsets[MAX_SCALES * 4];
    const krn_weights_parts parts = {.struct_size = sizeof parts,
                                     .codes = q->codes,
                                     .codes_ld_bytes = krn_type_row_bytes(desc->format, K),
                                     .scales = scales,
                                     .zero_points = q->zeros,
                                     .zero_offsets = offsets};
    CHECK_OK(krn_weights_unpack(context, weights, &parts));
    for (int64_t i = 0; i < count; i++) {
        q->scales[i] = (float)float_element(desc->scale_type, scales, i);
        if (desc->zero_type != 0)
            q->offsets[i] = (float)float_element(desc->zero_type, offsets, i);
    }
}

/* The quantizer's own result; flattened groups are groups of one long row. */
static void quantize(const krn_weights_desc *desc, const float *source, const float *codebook, quantized *q) {
    const krn_quantize_options options = {.struct_size = sizeof options,
                                          .type = desc->format,
                                          .granularity =
                                              desc->group_size == 0 ? KRN_GRANULARITY_CHANNEL : KRN_GRANULARITY_GROUP,
                                          .asymmetric = desc->format == KRN_TYPE_U4,
                                          .group_size = desc->group_size,
                                          .scale_type = desc->scale_type,
                                          .codebook = codebook};
    const int64_t rows = desc->flattened ? 1 : N, cols = desc->flattened ? N * K : K;
    CHECK_OK(krn_quantize(context, &options, rows, cols, KRN_TYPE_F32, source, cols, q->codes,
                          krn_type_row_bytes(desc->format, cols), q->scales,
                          desc->format == KRN_TYPE_C4 ? NULL : q->zeros, NULL));
}

static void check_floats(const krn_weights_desc *desc, const float *source, const float *codebook) {
    static quantized got, expected;
    krn_weights *weights = NULL;
    krn_quantize_error error = {-1, -1};
    CHECK_OK(krn_weights_pack_float(context, desc, KRN_TYPE_F32, source, K, 1.0f, codebook, &weights, &error));
    CHECK(error.mean_squared_error > 0 && error.max_abs_error > 0, "no error was reported");
    int64_t count = 0;
    CHECK_OK(krn_weights_scale_count(desc, &count));
    unpack(weights, desc, count, &got);
    quantize(desc, source, codebook, &expected);
    const size_t bytes = (size_t)(N * krn_type_row_bytes(desc->format, K));
    CHECK(memcmp(got.codes, expected.codes, bytes) == 0, "format %d: codes differ from the quantizer's", desc->format);
    CHECK(memcmp(got.scales, expected.scales, (size_t)count * 4) == 0, "format %d, scales of %d: scales differ",
          desc->format, desc->scale_type);
    for (int64_t i = 0; i < count && desc->format == KRN_TYPE_U4; i++) {
        if (desc->zero_type == 0) {
            CHECK(got.zeros[i] == expected.zeros[i], "zero point %lld differs", (long long)i);
            continue;
        }
        const double exact = -(double)expected.zeros[i] * expected.scales[i];
        const double eps = desc->zero_type == KRN_TYPE_F32 ? 1e-7 : desc->zero_type == KRN_TYPE_F16 ? 5e-4 : 4e-3;
        CHECK(fabs(got.offsets[i] - exact) <= eps * fabs(exact), "offset %lld is %g, expected %g", (long long)i,
              (double)got.offsets[i], exact);
    }
    krn_weights_destroy(weights);
}

static void floats_pack_like_the_quantizer(const float *source) {
    static const int32_t FORMATS[] = {KRN_TYPE_S8, KRN_TYPE_S4, KRN_TYPE_U4, KRN_TYPE_C4};
    static const int32_t TYPES[] = {KRN_TYPE_F32, KRN_TYPE_F16, KRN_TYPE_BF16};
    static const int64_t GROUPS[] = {0, 16, 32, 64};
    static const float CODEBOOK[16] = {-3, -2, -1.5f, -1, -1, -0.25f, -0.1f, 0.01f, 0.1f, 0.3f, 0.5f, 1, 2, 3, 3.5f, 4};
    for (int f = 0; f < 4; f++)
        for (int g = 0; g < 4; g++)
            for (int t = 0; t < 3; t++) {
                krn_weights_desc desc = describe(FORMATS[f], GROUPS[g], TYPES[t]);
                check_floats(&desc, source, NULL);
                if (FORMATS[f] == KRN_TYPE_C4)
                    check_floats(&desc, source, CODEBOOK);
                if (FORMATS[f] == KRN_TYPE_U4) {
                    desc.zero_type = TYPES[(t + g) % 3];
                    check_floats(&desc, source, NULL);
                    desc.zero_type = 0;
                }
                if (GROUPS[g] != 0) {
                    desc.flattened = 1;
                    check_floats(&desc, source, NULL);
                }
            }
}

/* Tables of double-quantized scales hold what weights.h says, and every code is a nearest entry. */
static void check_nested(const krn_weights_desc *desc, const float *source) {
    static quantized expected;
    static uint8_t codes[N * K], scales[MAX_SCALES];
    float map[256], nested[2], offset, offsets[MAX_SCALES];
    krn_weights *weights = NULL;
    CHECK_OK(krn_weights_pack_float(context, desc, KRN_TYPE_F32, source, K, 1.0f, NULL, &weights, NULL));
    int64_t count = 0;
    CHECK_OK(krn_weights_scale_count(desc, &count));
    const krn_weights_parts parts = {.struct_size = sizeof parts,
                                     .codes = codes,
                                     .codes_ld_bytes = krn_type_row_bytes(desc->format, K),
                                     .scales = scales,
                                     .zero_offsets = offsets,
                                     .scale_map = map,
                                     .nested_scales = nested,
                                     .scale_offset = &offset};
    CHECK_OK(krn_weights_unpack(context, weights, &parts));
    krn_weights_desc plain = *desc;
    plain.scale_type = 0;
    quantize(&plain, source, NULL, &expected);
    CHECK(memcmp(codes, expected.codes, (size_t)(N * krn_type_row_bytes(desc->format, K))) == 0, "codes differ");
    CHECK(map[127] == 0 && map[255] == 1 && map[128] == 5.5e-7f && map[254] == 0.99296875f && map[0] == -map[254],
          "the map has other entries");
    for (int e = 1; e < 256; e++)
        CHECK(map[e] > map[e - 1], "entry %d of the map does not ascend", e);
    double sum = 0;
    for (int64_t i = 0; i < count; i++)
        sum += expected.scales[i];
    CHECK(offset == (float)(sum / (double)count), "the offset is %g", (double)offset);
    for (int64_t i = 0; i < count; i++) {
        const double scale = nested[i / 256], rest = (double)expected.scales[i] - offset;
        CHECK(fabs(rest) <= scale * (1 + 1e-6), "scale %lld exceeds its nested scale", (long long)i);
        for (int e = 0; e < 256; e++)
            CHECK(fabs(map[scales[i]] * scale - rest) <= fabs(map[e] * scale - rest) + 1e-12 * scale,
                  "scale %lld: entry %d is nearer than %d", (long long)i, e, scales[i]);
        const float product = map[scales[i]] * nested[i / 256];
        CHECK(desc->zero_type == 0 || offsets[i] == -(float)expected.zeros[i] * (product + offset),
              "offset %lld does not belong to its scale", (long long)i);
    }
    krn_weights_destroy(weights);
}

static void scales_are_double_quantized(const float *source) {
    static const int32_t FORMATS[] = {KRN_TYPE_C4, KRN_TYPE_S8, KRN_TYPE_S4, KRN_TYPE_U4};
    for (int f = 0; f < 4; f++)
        for (int64_t group = 0; group <= 32; group += 16) {
            krn_weights_desc desc = describe(FORMATS[f], group, KRN_TYPE_U8);
            check_nested(&desc, source);
            if (FORMATS[f] == KRN_TYPE_U4)
                desc.zero_type = KRN_TYPE_F32;
            desc.flattened = group > 0;
            check_nested(&desc, source);
        }
    static const float ZEROS[N * K];
    const krn_weights_desc desc = describe(KRN_TYPE_C4, 16, KRN_TYPE_U8);
    check_nested(&desc, ZEROS);
}

static void refuse(krn_status expected, const char *named, const krn_weights_desc *desc, int32_t type,
                   const float *source, int64_t ld, const float *codebook) {
    krn_weights *weights = NULL;
    CHECK_STATUS(krn_weights_pack_float(context, desc, type, source, ld, 1.0f, codebook, &weights, NULL), expected);
    CHECK(strstr(krn_last_error(), named) != NULL, "the message does not name %s: %s", named, krn_last_error());
    CHECK(weights == NULL, "a failing call wrote its output");
}

static void misuse_is_refused(float *source) {
    krn_weights_desc desc = describe(KRN_TYPE_S8, 0, 0);
    refuse(KRN_ERROR_LEADING_DIMENSION, "source_ld", &desc, KRN_TYPE_F32, source, K - 1, NULL);
    refuse(KRN_ERROR_INVALID_ARGUMENT, "source_type", &desc, KRN_TYPE_S8, source, K, NULL);
    refuse(KRN_ERROR_INVALID_ARGUMENT, "codebook", &desc, KRN_TYPE_F32, source, K, krn_nf4_codebook());
    desc.num_outliers = 1;
    refuse(KRN_ERROR_UNSUPPORTED, "num_outliers", &desc, KRN_TYPE_F32, source, K, NULL);
    desc = describe(KRN_TYPE_S4, 0, 0);
    desc.zero_type = KRN_TYPE_F32;
    refuse(KRN_ERROR_UNSUPPORTED, "zero_type", &desc, KRN_TYPE_F32, source, K, NULL);
    desc = describe(KRN_TYPE_S4, 16, 0);
    desc.ordered = 1;
    refuse(KRN_ERROR_UNSUPPORTED, "ordered", &desc, KRN_TYPE_F32, source, K, NULL);
    desc = describe(KRN_TYPE_C4, 64, 0);
    desc.flattened = 1;
    refuse(KRN_ERROR_LEADING_DIMENSION, "source_ld", &desc, KRN_TYPE_F32, source, K + 1, NULL);
    float codebook[16];
    memcpy(codebook, krn_nf4_codebook(), sizeof codebook);
    codebook[3] = 0.5f;
    refuse(KRN_ERROR_INVALID_ARGUMENT, "codebook[4]", &desc, KRN_TYPE_F32, source, K, codebook);
    codebook[3] = NAN;
    refuse(KRN_ERROR_NON_FINITE, "codebook[3]", &desc, KRN_TYPE_F32, source, K, codebook);
    source[N * K - 1] = INFINITY;
    refuse(KRN_ERROR_NON_FINITE, "source", &desc, KRN_TYPE_F32, source, K, NULL);
}

int main(void) {
    context = context_of(KRN_ISA_AUTO, 2);
    float *source = guarded_allocate(N * K * 4, GUARD_END);
    test_random random = {5};
    for (int i = 0; i < N * K; i++)
        source[i] = random_activation(&random);
    floats_pack_like_the_quantizer(source);
    scales_are_double_quantized(source);
    misuse_is_refused(source);
    krn_context_destroy(context);
    guarded_free_all();
    puts("weights from floats: ok");
    return 0;
}
