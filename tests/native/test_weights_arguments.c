/* Every misuse of packed weights gives the right status, names the argument, and writes nothing; hostile blobs are
 * refused. */
#include "check.h"

#include "gemm/blob.h"

#include <math.h>
#include <string.h>

enum { N = 4, K = 64 };

static krn_context *context;
static uint8_t codes[N * K];
static float scales[N * 4];
static uint16_t halves[N * 4];
static uint8_t nested_codes[N * 4];
static int32_t zeros[N * 4];
static float codebook[16], map[256], nested[1];
static int32_t group_index[K];

static krn_weights_desc good_desc(void) {
    return (krn_weights_desc){
        .struct_size = sizeof(krn_weights_desc), .format = KRN_TYPE_U4, .n = N, .k = K, .group_size = 16};
}

static krn_weights_source good_source(void) {
    return (krn_weights_source){.struct_size = sizeof(krn_weights_source),
                                .codes = codes,
                                .codes_ld_bytes = K / 2,
                                .scales = scales,
                                .zero_points = zeros};
}

static void refuse(krn_status expected, const char *named, krn_weights_desc desc, krn_weights_source source) {
    krn_weights *weights = NULL;
    CHECK_STATUS(krn_weights_pack(context, &desc, &source, &weights), expected);
    CHECK(strstr(krn_last_error(), named) != NULL, "the message does not name %s: %s", named, krn_last_error());
    CHECK(weights == NULL, "a failing call wrote its output (%s)", named);
}

/* One wrong field at a time. */
#define REFUSE_DESC(expected, named, change)                                                                           \
    do {                                                                                                               \
        krn_weights_desc d = good_desc();                                                                              \
        change;                                                                                                        \
        refuse(expected, named, d, good_source());                                                                     \
    } while (0)
#define REFUSE_SOURCE(expected, named, change)                                                                         \
    do {                                                                                                               \
        krn_weights_desc d = good_desc();                                                                              \
        krn_weights_source s = good_source();                                                                          \
        (void)d;                                                                                                       \
        change;                                                                                                        \
        refuse(expected, named, d, s);                                                                                 \
    } while (0)

static void descriptions(void) {
    REFUSE_DESC(KRN_ERROR_STRUCT_SIZE, "desc->struct_size", d.struct_size = 8);
    REFUSE_DESC(KRN_ERROR_INVALID_ARGUMENT, "desc->format", d.format = KRN_TYPE_U8);
    REFUSE_DESC(KRN_ERROR_SHAPE, "desc->n", d.n = -1);
    REFUSE_DESC(KRN_ERROR_SHAPE, "desc->k", d.k = ((int64_t)1 << 30) + 1);
    REFUSE_DESC(KRN_ERROR_INVALID_ARGUMENT, "desc->group_size", d.group_size = 15);
    REFUSE_DESC(KRN_ERROR_INVALID_ARGUMENT, "desc->scale_type", d.scale_type = KRN_TYPE_S8);
    REFUSE_DESC(KRN_ERROR_INVALID_ARGUMENT, "desc->zero_type", d.zero_type = KRN_TYPE_U8);
    REFUSE_DESC(KRN_ERROR_INVALID_ARGUMENT, "desc->zero_type", (d.format = KRN_TYPE_C4, d.zero_type = KRN_TYPE_F32));
    REFUSE_DESC(KRN_ERROR_INVALID_ARGUMENT, "desc->flattened", d.flattened = 2);
    REFUSE_DESC(KRN_ERROR_INVALID_ARGUMENT, "desc->flattened", (d.flattened = 1, d.ordered = 1));
    REFUSE_DESC(KRN_ERROR_INVALID_ARGUMENT, "desc->flattened", (d.flattened = 1, d.group_size = 0));
    REFUSE_DESC(KRN_ERROR_INVALID_ARGUMENT, "desc->ordered", d.ordered = -1);
    /* Groups of 64 would have to be split into pieces of 8. */
    REFUSE_DESC(KRN_ERROR_SHAPE, "desc->k is 72", (d.flattened = 1, d.k = 72, d.group_size = 64));
}

static void sources(void) {
    REFUSE_SOURCE(KRN_ERROR_STRUCT_SIZE, "source->struct_size", s.struct_size = 1);
    REFUSE_SOURCE(KRN_ERROR_INVALID_ARGUMENT, "source->high_nibble_first", s.high_nibble_first = 2);
    REFUSE_SOURCE(KRN_ERROR_INVALID_ARGUMENT, "source->reserved", s.reserved = 1);
    REFUSE_SOURCE(KRN_ERROR_INVALID_ARGUMENT, "source->scale_offset", s.scale_offset = 1);
    REFUSE_SOURCE(KRN_ERROR_NULL_ARGUMENT, "source->codes", s.codes = NULL);
    REFUSE_SOURCE(KRN_ERROR_LEADING_DIMENSION, "source->codes_ld_bytes", s.codes_ld_bytes = K / 2 - 1);
    REFUSE_SOURCE(KRN_ERROR_NULL_ARGUMENT, "source->scales", s.scales = NULL);
    REFUSE_SOURCE(KRN_ERROR_NULL_ARGUMENT, "source->zero_points", s.zero_points = NULL);
    REFUSE_SOURCE(KRN_ERROR_INVALID_ARGUMENT, "source->zero_points", d.format = KRN_TYPE_S4);
    REFUSE_SOURCE(KRN_ERROR_INVALID_ARGUMENT, "source->zero_points", (d.zero_type = KRN_TYPE_F32));
    REFUSE_SOURCE(KRN_ERROR_NULL_ARGUMENT, "source->zero_offsets", (d.zero_type = KRN_TYPE_F32, s.zero_points = NULL));
    REFUSE_SOURCE(KRN_ERROR_INVALID_ARGUMENT, "source->zero_offsets", s.zero_offsets = scales);
    REFUSE_SOURCE(KRN_ERROR_INVALID_ARGUMENT, "source->codebook", s.codebook = codebook);
    REFUSE_SOURCE(KRN_ERROR_NULL_ARGUMENT, "source->codebook", (d.format = KRN_TYPE_C4, s.zero_points = NULL));
    REFUSE_SOURCE(KRN_ERROR_INVALID_ARGUMENT, "source->group_index", s.group_index = group_index);
    REFUSE_SOURCE(KRN_ERROR_NULL_ARGUMENT, "source->group_index", d.ordered = 1);
    REFUSE_SOURCE(KRN_ERROR_INVALID_ARGUMENT, "source->scale_map", s.scale_map = map);
    REFUSE_SOURCE(KRN_ERROR_NULL_ARGUMENT, "source->scale_map", d.scale_type = KRN_TYPE_U8);
    REFUSE_SOURCE(KRN_ERROR_NULL_ARGUMENT, "source->nested_scales", (d.scale_type = KRN_TYPE_U8, s.scale_map = map));
}

static void values(void) {
    zeros[2] = 16;
    REFUSE_SOURCE(KRN_ERROR_INVALID_ARGUMENT, "zero_points[2]", (void)s);
    zeros[2] = 0;
    scales[15] = NAN;
    REFUSE_SOURCE(KRN_ERROR_NON_FINITE, "scales[15]", (void)s);
    REFUSE_SOURCE(KRN_ERROR_NON_FINITE, "zero_offsets[15]",
                  (s.scales = halves, d.scale_type = KRN_TYPE_F16, d.zero_type = KRN_TYPE_F32, s.zero_offsets = scales,
                   s.zero_points = NULL));
    scales[15] = 1;
    halves[3] = 0x7C00;
    REFUSE_SOURCE(KRN_ERROR_NON_FINITE, "scales[3]", (s.scales = halves, d.scale_type = KRN_TYPE_F16));
    halves[3] = 0;
    codebook[15] = INFINITY;
    REFUSE_SOURCE(KRN_ERROR_NON_FINITE, "codebook[15]",
                  (d.format = KRN_TYPE_C4, s.zero_points = NULL, s.codebook = codebook));
    codebook[15] = 0;
    map[5] = 1e30f;
    nested[0] = 1e30f;
    nested_codes[7] = 5;
    REFUSE_SOURCE(KRN_ERROR_NON_FINITE, "scales[7]",
                  (d.scale_type = KRN_TYPE_U8, s.scales = nested_codes, s.scale_map = map, s.nested_scales = nested));
    map[5] = NAN;
    REFUSE_SOURCE(KRN_ERROR_NON_FINITE, "scale_map[5]",
                  (d.scale_type = KRN_TYPE_U8, s.scales = nested_codes, s.scale_map = map, s.nested_scales = nested));
    map[5] = 0;
    for (int k = 0; k < K; k++)
        group_index[k] = k / 16;
    group_index[0] = 1;
    REFUSE_SOURCE(KRN_ERROR_SHAPE, "group_index", (d.ordered = 1, s.group_index = group_index));
    group_index[0] = 4;
    REFUSE_SOURCE(KRN_ERROR_INVALID_ARGUMENT, "group_index[0]", (d.ordered = 1, s.group_index = group_index));
    group_index[0] = -1;
    REFUSE_SOURCE(KRN_ERROR_INVALID_ARGUMENT, "group_index[0]", (d.ordered = 1, s.group_index = group_index));
    group_index[0] = 0;
}

static void other_arguments(void) {
    krn_weights_desc desc = good_desc();
    const krn_weights_source source = good_source();
    krn_weights *weights = NULL;
    CHECK_STATUS(krn_weights_pack(NULL, &desc, &source, &weights), KRN_ERROR_NULL_ARGUMENT);
    CHECK_STATUS(krn_weights_pack(context, NULL, &source, &weights), KRN_ERROR_NULL_ARGUMENT);
    CHECK_STATUS(krn_weights_pack(context, &desc, NULL, &weights), KRN_ERROR_NULL_ARGUMENT);
    CHECK_STATUS(krn_weights_pack(context, &desc, &source, NULL), KRN_ERROR_NULL_ARGUMENT);
    CHECK_STATUS(krn_weights_scale_count(&desc, NULL), KRN_ERROR_NULL_ARGUMENT);
    CHECK_OK(krn_weights_pack(context, &desc, &source, &weights));
    krn_weights_parts parts = {.struct_size = sizeof parts};
    CHECK_STATUS(krn_weights_unpack(NULL, weights, &parts), KRN_ERROR_NULL_ARGUMENT);
    CHECK_STATUS(krn_weights_unpack(context, NULL, &parts), KRN_ERROR_NULL_ARGUMENT);
    CHECK_STATUS(krn_weights_unpack(context, weights, NULL), KRN_ERROR_NULL_ARGUMENT);
    parts.struct_size = 4;
    CHECK_STATUS(krn_weights_unpack(context, weights, &parts), KRN_ERROR_STRUCT_SIZE);
    parts = (krn_weights_parts){.struct_size = sizeof parts, .codes = codes, .codes_ld_bytes = K / 2 - 1};
    CHECK_STATUS(krn_weights_unpack(context, weights, &parts), KRN_ERROR_LEADING_DIMENSION);
    parts = (krn_weights_parts){.struct_size = sizeof parts, .high_nibble_first = 2};
    CHECK_STATUS(krn_weights_unpack(context, weights, &parts), KRN_ERROR_INVALID_ARGUMENT);
    CHECK(krn_weights_bytes(NULL) == 0 && krn_weights_blob_bytes(NULL) == 0, "sizes of NULL");
    CHECK_STATUS(krn_weights_describe(NULL, &desc), KRN_ERROR_NULL_ARGUMENT);
    CHECK_STATUS(krn_weights_load(context, NULL, 0, &weights), KRN_ERROR_NULL_ARGUMENT);
    krn_weights_destroy(weights);
    krn_weights_destroy(NULL);
}

/* A blob whose packed bytes were changed at `at`, with a checksum that fits. */
static void refuse_forged(krn_weights *weights, int64_t at, const void *bytes, size_t count) {
    uint8_t before[64];
    memcpy(before, weights->packed + at, count);
    memcpy(weights->packed + at, bytes, count);
    static uint8_t blob[1 << 16];
    CHECK(krn_weights_blob_bytes(weights) <= (int64_t)sizeof blob, "the blob is too long for the test");
    CHECK_OK(krn_weights_save(weights, blob, sizeof blob));
    memcpy(weights->packed + at, before, count);
    krn_weights *loaded = NULL;
    CHECK_STATUS(krn_weights_load(context, blob, krn_weights_blob_bytes(weights), &loaded), KRN_ERROR_BLOB_FORMAT);
    CHECK(loaded == NULL, "a refused blob wrote its output");
}

static void forged_blobs(void) {
    const float nan = NAN;
    const int16_t bad_zero = 16;
    const int32_t bad_inputs[] = {-1, K, 5};
    krn_weights_desc desc = good_desc();
    krn_weights_source source = good_source();
    krn_weights *weights = NULL;
    desc.ordered = 1;
    source.group_index = group_index;
    CHECK_OK(krn_weights_pack(context, &desc, &source, &weights));
    refuse_forged(weights, krn_layout_scales_offset(&weights->layout, 3), &nan, sizeof nan);
    refuse_forged(weights, krn_layout_zeros_offset(&weights->layout, 0), &bad_zero, sizeof bad_zero);
    /* Outside the row, and an input that comes twice. */
    for (int i = 0; i < 3; i++)
        refuse_forged(weights, weights->layout.permutation_at, &bad_inputs[i], sizeof bad_inputs[i]);
    krn_weights_destroy(weights);

    desc = good_desc();
    desc.format = KRN_TYPE_C4;
    desc.scale_type = KRN_TYPE_U8;
    source = good_source();
    source.scales = nested_codes;
    source.zero_points = NULL;
    source.codebook = codebook;
    source.scale_map = map;
    source.nested_scales = nested;
    CHECK_OK(krn_weights_pack(context, &desc, &source, &weights));
    refuse_forged(weights, weights->layout.codebook_at + 8, &nan, sizeof nan);
    refuse_forged(weights, weights->layout.map_at, &nan, sizeof nan);
    refuse_forged(weights, weights->layout.nested_at, &nan, sizeof nan);
    krn_weights_destroy(weights);

    desc = good_desc();
    desc.zero_type = KRN_TYPE_F32;
    source = good_source();
    source.zero_points = NULL;
    source.zero_offsets = scales;
    CHECK_OK(krn_weights_pack(context, &desc, &source, &weights));
    refuse_forged(weights, weights->layout.offsets_at, &nan, sizeof nan);
    krn_weights_destroy(weights);
}

int main(void) {
    context = context_of(KRN_ISA_AUTO, 1);
    for (int i = 0; i < N * 4; i++)
        scales[i] = 1;
    for (int k = 0; k < K; k++)
        group_index[k] = k / 16;
    descriptions();
    sources();
    values();
    other_arguments();
    forged_blobs();
    krn_context_destroy(context);
    puts("weights arguments: ok");
    return 0;
}
