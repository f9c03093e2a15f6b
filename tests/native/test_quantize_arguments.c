/* Quantization: every misuse has its status, names the argument and writes nothing; empty tensors; limits. */
#include "check.h"

#include <math.h>
#include <string.h>

enum { ROWS = 3, COLS = 40, LD = 48, CODES_LD = 44, MAX_SCALES = ROWS * 3 };

/* All the arguments of a good call. Every check changes one of them. */
typedef struct {
    krn_context *context;
    krn_quantize_options options;
    int64_t rows, cols;
    int32_t float_type;
    float *floats;
    int64_t ld;
    uint8_t *codes;
    int64_t codes_ld_bytes;
    float *scales;
    int32_t *zero_points;
} call;

static float source[ROWS * LD];
static uint8_t codes[ROWS * CODES_LD];
static float scales[MAX_SCALES];
static int32_t zero_points[MAX_SCALES];
static krn_quantize_error error;

static call good_call(krn_context *context) {
    for (int i = 0; i < ROWS * LD; i++)
        source[i] = (float)(i % 11) - 5;
    memset(codes, 0xA5, sizeof codes);
    memset(scales, 0xA5, sizeof scales);
    memset(zero_points, 0, sizeof zero_points);
    memset(&error, 0xA5, sizeof error);
    return (call){
        .context = context,
        .options = {.struct_size = sizeof(krn_quantize_options),
                    .type = KRN_TYPE_U4,
                    .granularity = KRN_GRANULARITY_GROUP,
                    .asymmetric = 1,
                    .group_size = 16},
        .rows = ROWS,
        .cols = COLS,
        .float_type = KRN_TYPE_F32,
        .floats = source,
        .ld = LD,
        .codes = codes,
        .codes_ld_bytes = CODES_LD,
        .scales = scales,
        .zero_points = zero_points,
    };
}

static krn_status quantize(const call *c) {
    return krn_quantize(c->context, &c->options, c->rows, c->cols, c->float_type, c->floats, c->ld, c->codes,
                        c->codes_ld_bytes, c->scales, c->zero_points, &error);
}

static krn_status dequantize(const call *c) {
    return krn_dequantize(c->context, &c->options, c->rows, c->cols, c->codes, c->codes_ld_bytes, c->scales,
                          c->zero_points, c->float_type, c->floats, c->ld);
}

/* The call fails both ways, names the argument (`name` in quantize, `other_name` in dequantize) and writes nothing. */
static void check_refused(const call *c, krn_status expected, const char *name, const char *other_name) {
    float before[ROWS * LD];
    memcpy(before, source, sizeof source);
    CHECK_STATUS(quantize(c), expected);
    CHECK(strstr(krn_last_error(), name) != NULL, "\"%s\" does not name %s", krn_last_error(), name);
    CHECK_STATUS(dequantize(c), expected);
    CHECK(strstr(krn_last_error(), other_name) != NULL, "\"%s\" does not name %s", krn_last_error(), other_name);
    CHECK(memcmp(before, source, sizeof source) == 0, "%s: the floats were written", name);
    for (size_t i = 0; i < sizeof codes; i++)
        CHECK(codes[i] == 0xA5, "%s: codes were written", name);
    for (size_t i = 0; i < sizeof scales; i++)
        CHECK(((const uint8_t *)scales)[i] == 0xA5, "%s: scales were written", name);
    for (size_t i = 0; i < sizeof error; i++)
        CHECK(((const uint8_t *)&error)[i] == 0xA5, "%s: the error was written", name);
    for (int i = 0; i < MAX_SCALES; i++)
        CHECK(zero_points[i] == 0, "%s: zero points were written", name);
}

/* Changes one argument of a good call and checks that it is refused. */
#define REFUSES(change, status, name, other_name)                                                                      \
    do {                                                                                                               \
        call c = good_call(context);                                                                                   \
        change;                                                                                                        \
        check_refused(&c, status, name, other_name);                                                                   \
    } while (0)

static void refuses_bad_options(krn_context *context) {
    const krn_status invalid = KRN_ERROR_INVALID_ARGUMENT;
    REFUSES(c.options.struct_size = 0, KRN_ERROR_STRUCT_SIZE, "options->struct_size", "options->struct_size");
    REFUSES(c.options.struct_size += 8, KRN_ERROR_STRUCT_SIZE, "options->struct_size", "options->struct_size");
    REFUSES(c.options.type = KRN_TYPE_F32, invalid, "options->type", "options->type");
    REFUSES(c.options.type = 99, invalid, "options->type", "options->type");
    REFUSES(c.options.granularity = -1, invalid, "options->granularity", "options->granularity");
    REFUSES(c.options.granularity = 4, invalid, "options->granularity", "options->granularity");
    REFUSES(c.options.asymmetric = 2, invalid, "options->asymmetric", "options->asymmetric");
    REFUSES(c.options.group_size = 15, invalid, "options->group_size", "options->group_size");
    REFUSES(c.options.group_size = -32, invalid, "options->group_size", "options->group_size");
    REFUSES(c.options.clip_ratio = -0.5f, invalid, "options->clip_ratio", "options->clip_ratio");
    REFUSES(c.options.clip_ratio = 1.0001f, invalid, "options->clip_ratio", "options->clip_ratio");
    REFUSES(c.options.clip_ratio = NAN, invalid, "options->clip_ratio", "options->clip_ratio");
    REFUSES(c.options.scale_type = KRN_TYPE_U8, invalid, "options->scale_type", "options->scale_type");
    float codebook[16];
    memcpy(codebook, krn_nf4_codebook(), sizeof codebook);
    REFUSES(c.options.codebook = codebook, invalid, "options->codebook", "options->codebook");
    REFUSES((c.options.type = KRN_TYPE_C4, c.options.asymmetric = 1), invalid, "options->asymmetric",
            "options->asymmetric");
    REFUSES((c.options.type = KRN_TYPE_C4, c.options.asymmetric = 0), invalid, "zero_points", "zero_points");
    codebook[7] = -0.5f;
    REFUSES((c.options.type = KRN_TYPE_C4, c.options.asymmetric = 0, c.options.codebook = codebook), invalid,
            "options->codebook[7]", "options->codebook[7]");
    codebook[7] = INFINITY;
    REFUSES((c.options.type = KRN_TYPE_C4, c.options.asymmetric = 0, c.options.codebook = codebook),
            KRN_ERROR_NON_FINITE, "options->codebook[7]", "options->codebook[7]");
    for (int i = 0; i < 16; i++)
        codebook[i] = 0;
    REFUSES((c.options.type = KRN_TYPE_C4, c.options.asymmetric = 0, c.options.codebook = codebook), invalid,
            "options->codebook", "options->codebook");
}

static void refuses_bad_tensors(krn_context *context) {
    const krn_status null = KRN_ERROR_NULL_ARGUMENT, ld = KRN_ERROR_LEADING_DIMENSION, align = KRN_ERROR_ALIGNMENT;
    REFUSES(c.context = NULL, null, "context", "context");
    REFUSES(c.rows = -1, KRN_ERROR_SHAPE, "rows", "rows");
    REFUSES(c.cols = -1, KRN_ERROR_SHAPE, "cols", "cols");
    REFUSES(c.rows = INT64_MAX / 4, KRN_ERROR_SHAPE, "rows", "rows");
    REFUSES(c.cols = INT64_MAX, KRN_ERROR_SHAPE, "cols", "cols");
    REFUSES(c.float_type = KRN_TYPE_S8, KRN_ERROR_INVALID_ARGUMENT, "source_type", "target_type");
    REFUSES(c.floats = NULL, null, "source", "target");
    REFUSES(c.floats = (float *)(void *)((char *)source + 2), align, "source", "target");
    REFUSES(c.ld = COLS - 1, ld, "source_ld", "target_ld");
    REFUSES(c.ld = INT64_MAX / 4, ld, "source_ld", "target_ld");
    REFUSES(c.codes = NULL, null, "codes", "codes");
    REFUSES(c.codes_ld_bytes = COLS / 2 - 1, ld, "codes_ld_bytes", "codes_ld_bytes");
    REFUSES(c.codes_ld_bytes = INT64_MAX, ld, "codes_ld_bytes", "codes_ld_bytes");
    REFUSES(c.scales = NULL, null, "scales", "scales");
    REFUSES(c.scales = (float *)(void *)((char *)scales + 1), align, "scales", "scales");
    REFUSES(c.zero_points = NULL, null, "zero_points", "zero_points");
    REFUSES(c.zero_points = (int32_t *)(void *)((char *)zero_points + 2), align, "zero_points", "zero_points");

    call c = good_call(context);
    CHECK_STATUS(
        krn_quantize(context, NULL, ROWS, COLS, KRN_TYPE_F32, source, LD, codes, CODES_LD, scales, zero_points, NULL),
        null);
    CHECK_STATUS(
        krn_dequantize(context, NULL, ROWS, COLS, codes, CODES_LD, scales, zero_points, KRN_TYPE_F32, source, LD),
        null);
    zero_points[MAX_SCALES - 1] = 32768;
    CHECK_STATUS(dequantize(&c), KRN_ERROR_INVALID_ARGUMENT);
    CHECK(strstr(krn_last_error(), "zero_points[8]") != NULL, "\"%s\"", krn_last_error());
    zero_points[MAX_SCALES - 1] = -32769;
    CHECK_STATUS(dequantize(&c), KRN_ERROR_INVALID_ARGUMENT);
}

static void counts_scales_and_bytes(void) {
    static const struct {
        int32_t granularity;
        int64_t group_size, rows, cols, count;
    } cases[] = {
        {KRN_GRANULARITY_TENSOR, 0, 5, 7, 1},        {KRN_GRANULARITY_TENSOR, 0, 5, 0, 1},
        {KRN_GRANULARITY_TENSOR, 0, 0, 7, 1},        {KRN_GRANULARITY_CHANNEL, 0, 5, 7, 5},
        {KRN_GRANULARITY_CHANNEL, 0, 5, 0, 5},       {KRN_GRANULARITY_CHANNEL, 0, 0, 7, 0},
        {KRN_GRANULARITY_TOKEN, 0, 5, 7, 5},         {KRN_GRANULARITY_TOKEN, 0, 5, 0, 5},
        {KRN_GRANULARITY_GROUP, 16, 5, 33, 15},      {KRN_GRANULARITY_GROUP, 16, 5, 0, 0},
        {KRN_GRANULARITY_GROUP, INT64_MAX, 5, 9, 5}, {KRN_GRANULARITY_GROUP, 17, 0, 99, 0},
    };
    int64_t count = -7;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const krn_quantize_options options = {.struct_size = sizeof options,
                                              .type = KRN_TYPE_S8,
                                              .granularity = cases[i].granularity,
                                              .group_size = cases[i].group_size};
        CHECK_OK(krn_quantize_scale_count(&options, cases[i].rows, cases[i].cols, &count));
        CHECK(count == cases[i].count, "case %d has %lld scales", (int)i, (long long)count);
        CHECK_STATUS(krn_quantize_scale_count(&options, -1, 0, &count), KRN_ERROR_SHAPE);
        CHECK_STATUS(krn_quantize_scale_count(&options, INT64_MAX, INT64_MAX, &count), KRN_ERROR_SHAPE);
        CHECK_STATUS(krn_quantize_scale_count(&options, 1, 1, NULL), KRN_ERROR_NULL_ARGUMENT);
    }
    CHECK_STATUS(krn_quantize_scale_count(NULL, 1, 1, &count), KRN_ERROR_NULL_ARGUMENT);
    CHECK(krn_type_row_bytes(KRN_TYPE_F32, 3) == 12 && krn_type_row_bytes(KRN_TYPE_BF16, 3) == 6, "bytes of floats");
    CHECK(krn_type_row_bytes(KRN_TYPE_U8, 3) == 3 && krn_type_row_bytes(KRN_TYPE_S4, 3) == 2, "bytes of codes");
    CHECK(krn_type_row_bytes(KRN_TYPE_S4, INT64_MAX) == INT64_MAX / 2 + 1, "bytes of the longest row");
    CHECK(krn_type_row_bytes(KRN_TYPE_F32, INT64_MAX) == -1, "bytes that do not fit");
    CHECK(krn_type_row_bytes(KRN_TYPE_S8, -1) == -1 && krn_type_row_bytes(0, 1) == -1, "bytes of nonsense");
}

static void accepts_empty_tensors(krn_context *context) {
    static const int64_t shapes[][2] = {{0, 0}, {0, COLS}, {ROWS, 0}};
    for (int32_t granularity = KRN_GRANULARITY_TENSOR; granularity <= KRN_GRANULARITY_GROUP; granularity++) {
        for (int s = 0; s < 3; s++) {
            call c = good_call(context);
            c.options.granularity = granularity;
            c.options.type = KRN_TYPE_S8;
            c.rows = shapes[s][0];
            c.cols = shapes[s][1];
            c.floats = NULL;
            c.codes = NULL;
            int64_t count;
            CHECK_OK(krn_quantize_scale_count(&c.options, c.rows, c.cols, &count));
            if (count == 0) {
                c.scales = NULL;
                c.zero_points = NULL;
            }
            CHECK_OK(quantize(&c));
            CHECK(error.mean_squared_error == 0 && error.max_abs_error == 0, "the error of nothing");
            for (int64_t i = 0; i < count; i++)
                CHECK(scales[i] == 0 && zero_points[i] == -128, "the scale of nothing");
            CHECK(((const uint8_t *)&scales[count])[0] == 0xA5, "more than %lld scales were written", (long long)count);
            CHECK_OK(dequantize(&c));
        }
    }
}

/* The zero points of a symmetric scheme are optional both ways, and change nothing. */
static void fixes_symmetric_zero_points(krn_context *context) {
    static const struct {
        int32_t type, zero;
    } cases[] = {{KRN_TYPE_S8, 0}, {KRN_TYPE_U8, 128}, {KRN_TYPE_S4, 0}, {KRN_TYPE_U4, 8}};
    for (int i = 0; i < 4; i++) {
        call c = good_call(context);
        c.options.type = cases[i].type;
        c.options.asymmetric = 0;
        CHECK_OK(quantize(&c));
        for (int s = 0; s < MAX_SCALES; s++)
            CHECK(zero_points[s] == cases[i].zero, "zero point of type %d is %d", cases[i].type, zero_points[s]);
        float target[2][ROWS * LD] = {{0}};
        uint8_t expected[sizeof codes];
        memcpy(expected, codes, sizeof codes);
        c.floats = target[0];
        CHECK_OK(dequantize(&c));
        c.floats = source;
        c.zero_points = NULL;
        memset(codes, 0xA5, sizeof codes);
        CHECK_OK(quantize(&c));
        CHECK(memcmp(codes, expected, sizeof codes) == 0, "codes without zero points");
        c.floats = target[1];
        CHECK_OK(dequantize(&c));
        CHECK(memcmp(target[0], target[1], sizeof target[0]) == 0, "values without zero points");
    }
}

int main(void) {
    int32_t levels[8];
    const int num_levels = tested_levels(levels);
    counts_scales_and_bytes();
    for (int l = 0; l < num_levels; l++) {
        krn_context *context = context_of(levels[l], 2);
        refuses_bad_options(context);
        refuses_bad_tensors(context);
        accepts_empty_tensors(context);
        fixes_symmetric_zero_points(context);
        krn_context_destroy(context);
    }
    puts("quantize arguments: ok");
    return 0;
}
