#include "quantize_case.h"

#include <float.h>
#include <math.h>
#include <string.h>

static int64_t bytes_of(int32_t type) { return type == KRN_TYPE_F32 ? 4 : 2; }

static int fraction_bits_of(int32_t type) { return type == KRN_TYPE_F16 ? 10 : type == KRN_TYPE_BF16 ? 7 : 23; }

static int exponent_bits_of(int32_t type) { return type == KRN_TYPE_F16 ? 5 : 8; }

static uint32_t bits_at(int32_t type, const void *data, int64_t index) {
    if (type == KRN_TYPE_F32)
        return ((const uint32_t *)data)[index];
    return ((const uint16_t *)data)[index];
}

static void set_bits(int32_t type, void *data, int64_t index, uint32_t bits) {
    if (type == KRN_TYPE_F32)
        ((uint32_t *)data)[index] = bits;
    else
        ((uint16_t *)data)[index] = (uint16_t)bits;
}

double quantize_float_at(int32_t type, const void *data, int64_t index) {
    const int fraction_bits = fraction_bits_of(type), exponent_bits = exponent_bits_of(type);
    const int bias = (1 << (exponent_bits - 1)) - 1;
    const uint32_t bits = bits_at(type, data, index);
    const int exponent = (int)(bits >> fraction_bits) & ((1 << exponent_bits) - 1);
    const int fraction = (int)(bits & ((1u << fraction_bits) - 1));
    double magnitude;
    if (exponent == (1 << exponent_bits) - 1)
        magnitude = fraction == 0 ? INFINITY : NAN;
    else if (exponent == 0)
        magnitude = ldexp(fraction, 1 - bias - fraction_bits);
    else
        magnitude = ldexp(fraction + (1 << fraction_bits), exponent - bias - fraction_bits);
    return bits >> (fraction_bits + exponent_bits) ? -magnitude : magnitude;
}

/* `value` rounded to nearest even to a type. */
static double round_to(int32_t type, double value) {
    const int fraction_bits = fraction_bits_of(type);
    const int bias = (1 << (exponent_bits_of(type) - 1)) - 1;
    if (value == 0 || !isfinite(value))
        return value;
    int exponent;
    (void)frexp(value, &exponent); /* value = [0.5, 1) * 2^exponent */
    const int lowest = 1 - bias;
    const int unit = (exponent - 1 > lowest ? exponent - 1 : lowest) - fraction_bits;
    const double rounded = ldexp(nearbyint(ldexp(value, -unit)), unit);
    return fabs(rounded) >= ldexp(1, bias + 1) ? copysign(INFINITY, value) : rounded;
}

void quantize_case_poison(const quantize_case *c, int64_t index, int is_nan) {
    const int fraction_bits = fraction_bits_of(c->source_type);
    const uint32_t infinity = ((1u << exponent_bits_of(c->source_type)) - 1) << fraction_bits;
    const uint32_t sign = index % 2 == 0 ? 1u << (fraction_bits + exponent_bits_of(c->source_type)) : 0;
    set_bits(c->source_type, c->source, index, sign | infinity | (is_nan ? 1 : 0));
}

typedef enum { NORMAL, TIES, ZEROS, SUBNORMAL, HUGE_VALUES, NEGATIVE, POSITIVE, SPARSE, NUM_KINDS } data_kind;

/* The bits of a finite element. Narrow types take the upper bits of a binary32 or the nearest f16 bit pattern space. */
static uint32_t random_bits(test_random *random, int32_t type, data_kind kind) {
    const int fraction_bits = fraction_bits_of(type);
    const int bias = (1 << (exponent_bits_of(type) - 1)) - 1;
    const uint32_t sign_bit = 1u << (fraction_bits + exponent_bits_of(type));
    const uint32_t sign = random_next(random) & 1 ? sign_bit : 0;
    const uint32_t fraction = (uint32_t)random_next(random) & ((1u << fraction_bits) - 1);
    const int outlier = random_between(random, 0, 63) == 0 ? 5 : 0;
    const uint32_t common = (uint32_t)(bias + random_between(random, -6, 1) + outlier) << fraction_bits | fraction;
    switch (kind) {
    case TIES: {
        /* Halves up to 127: with 127 among them the scale is 1. */
        const int64_t halves = random_between(random, 0, 7) == 0 ? 254 : random_between(random, 0, 254);
        uint32_t bits = 0;
        if (halves != 0) {
            int exponent;
            const double significand = frexp((double)halves / 2, &exponent);
            bits =
                (uint32_t)(exponent - 1 + bias) << fraction_bits | (uint32_t)ldexp(significand * 2 - 1, fraction_bits);
        }
        return sign | bits;
    }
    case ZEROS: return sign;
    case SUBNORMAL: return sign | fraction;
    case HUGE_VALUES: return sign | (uint32_t)(2 * bias - random_between(random, 0, 2)) << fraction_bits | fraction;
    case NEGATIVE: return sign_bit | common;
    case POSITIVE: return common;
    case SPARSE: return random_between(random, 0, 15) == 0 ? sign | common : sign;
    default: return sign | common;
    }
}

static void fill_source(quantize_case *c, test_random *random) {
    const int64_t elems = c->rows == 0 ? 0 : (c->rows - 1) * c->source_ld + c->cols;
    c->source = guarded_allocate(elems * bytes_of(c->source_type), c->side);
    data_kind kind = (data_kind)random_between(random, 0, NUM_KINDS - 1);
    const int mixed = random_next(random) & 1;
    for (int64_t i = 0; i < elems; i++) {
        if (mixed && random_between(random, 0, 63) == 0)
            kind = (data_kind)random_between(random, 0, NUM_KINDS - 1);
        set_bits(c->source_type, c->source, i, random_bits(random, c->source_type, kind));
        if (i % c->source_ld >= c->cols)
            quantize_case_poison(c, i, 1);
    }
}

/* FP4 in ascending order, with two zeros; and a codebook whose midpoints with steps of a half are ties. */
static const float FP4[16] = {-1, -2 / 3.0f,    -0.5f,    -1 / 3.0f, -0.25f,   -1 / 6.0f, -0.0625f / 12, -0.0f,
                              0,  0.0625f / 12, 1 / 6.0f, 0.25f,     1 / 3.0f, 0.5f,      2 / 3.0f,      1};
static const float STEPS[16] = {-127, -64, -32, -16, -8, -4, -2, -1, 0, 1, 2, 4, 8, 16, 32, 64};

quantize_case quantize_case_make(test_random *random, int64_t max_elems) {
    static const int32_t codes[] = {KRN_TYPE_S8, KRN_TYPE_U8, KRN_TYPE_S4, KRN_TYPE_U4, KRN_TYPE_C4};
    static const int32_t scale_types[] = {0, KRN_TYPE_F32, KRN_TYPE_F16, KRN_TYPE_BF16};
    static const float *const codebooks[] = {NULL, FP4, STEPS};
    static const int32_t floats[] = {KRN_TYPE_F32, KRN_TYPE_F16, KRN_TYPE_BF16};
    static const int64_t groups[] = {16, 17, 23, 31, 32, 33, 48, 64, 100, 127, 128, 129, 1025, 2049, INT64_MAX};
    static const float clips[] = {0, 1, 1, 0.9f, 0.5f, 1e-3f, 1e-30f};
    quantize_case c = {
        .options =
            {
                .struct_size = sizeof c.options,
                .type = codes[random_between(random, 0, 4)],
                .granularity = (int32_t)random_between(random, KRN_GRANULARITY_TENSOR, KRN_GRANULARITY_GROUP),
                .asymmetric = (int32_t)random_between(random, 0, 1),
                .clip_ratio = clips[random_between(random, 0, 6)],
                .scale_type = scale_types[random_between(random, 0, 3)],
            },
        .source_type = floats[random_between(random, 0, 2)],
        .target_type = floats[random_between(random, 0, 2)],
        .side = random_next(random) & 1 ? GUARD_START : GUARD_END,
    };
    if (c.options.type == KRN_TYPE_C4) {
        c.options.asymmetric = 0;
        c.options.codebook = codebooks[random_between(random, 0, 2)];
    }
    if (c.options.granularity == KRN_GRANULARITY_GROUP)
        c.options.group_size = groups[random_between(random, 0, 14)];
    /* As often narrow and many rows as wide and few. */
    c.cols = random_between(random, 1, random_next(random) & 1 ? 80 : max_elems);
    c.rows = random_between(random, 1, max_elems / c.cols + 1);
    c.source_ld = c.cols + (random_next(random) & 1 ? 0 : random_between(random, 1, 9));
    c.target_ld = c.cols + (random_next(random) & 1 ? 0 : random_between(random, 1, 9));
    c.codes_ld_bytes =
        krn_type_row_bytes(c.options.type, c.cols) + (random_next(random) & 1 ? 0 : random_between(random, 1, 9));
    fill_source(&c, random);
    return c;
}

quantize_result quantize_case_buffers(const quantize_case *c) {
    quantize_result r = {0};
    CHECK_OK(krn_quantize_scale_count(&c->options, c->rows, c->cols, &r.scale_count));
    if (c->rows > 0) {
        r.codes_bytes = (c->rows - 1) * c->codes_ld_bytes + krn_type_row_bytes(c->options.type, c->cols);
        r.target_bytes = ((c->rows - 1) * c->target_ld + c->cols) * bytes_of(c->target_type);
    }
    r.codes = guarded_allocate(r.codes_bytes, c->side);
    r.scales = guarded_allocate(r.scale_count * 4, c->side);
    if (c->options.type != KRN_TYPE_C4)
        r.zero_points = guarded_allocate(r.scale_count * 4, c->side);
    r.target = guarded_allocate(r.target_bytes, c->side);
    memset(&r.error, 0xA5, sizeof r.error);
    return r;
}

quantize_result quantize_case_run(const quantize_case *c, krn_context *context) {
    quantize_result r = quantize_case_buffers(c);
    CHECK_OK(krn_quantize(context, &c->options, c->rows, c->cols, c->source_type, c->source, c->source_ld, r.codes,
                          c->codes_ld_bytes, r.scales, r.zero_points, &r.error));
    CHECK_OK(krn_dequantize(context, &c->options, c->rows, c->cols, r.codes, c->codes_ld_bytes, r.scales, r.zero_points,
                            c->target_type, r.target, c->target_ld));
    return r;
}

static float f32(double value) { return (float)value; }

typedef struct {
    float scale;
    int32_t zero, low, high;
} block_oracle;

static const float *codebook_of(const quantize_case *c) {
    return c->options.codebook == NULL ? krn_nf4_codebook() : c->options.codebook;
}

/* A scale rounded to its type, no further than its largest finite value. */
static float stored_scale(const quantize_case *c, float scale) {
    const int32_t type = c->options.scale_type == 0 ? KRN_TYPE_F32 : c->options.scale_type;
    if (scale < FLT_MIN)
        return 0;
    const double largest = type == KRN_TYPE_F16 ? 65504 : type == KRN_TYPE_BF16 ? ldexp(255, 120) : (double)FLT_MAX;
    return f32(fmin(round_to(type, (double)scale), largest));
}

/* The nearest entry by trying all of them; ties, by the rounded midpoint, go to the lower one. */
static int32_t nearest_code(const quantize_case *c, const block_oracle *o, double x) {
    const float *codebook = codebook_of(c);
    const double scaled = o->scale == 0 ? 0 : (double)f32(x * (double)f32(1 / (double)o->scale));
    int32_t best = 0;
    for (int32_t i = 1; i < 16; i++)
        if (scaled > (double)f32(((double)codebook[i - 1] + (double)codebook[i]) / 2))
            best = i;
    return best;
}

/* Rows first_row..end_row-1, columns first..end-1 share a scale. Every operation on binary32 operands is done in
 * binary64 and rounded once more, which for + - * / gives the binary32 result. */
static block_oracle oracle_of(const quantize_case *c, int64_t first_row, int64_t end_row, int64_t first, int64_t end) {
    const int is_signed = c->options.type == KRN_TYPE_S8 || c->options.type == KRN_TYPE_S4;
    const int eight = c->options.type == KRN_TYPE_S8 || c->options.type == KRN_TYPE_U8;
    const int32_t q_min = is_signed ? (eight ? -128 : -8) : 0;
    const int32_t q_max = q_min + (eight ? 255 : 15);
    const double clip = c->options.clip_ratio == 0 ? 1 : (double)c->options.clip_ratio;
    double lowest = 0, highest = 0;
    for (int64_t row = first_row; row < end_row; row++) {
        for (int64_t col = first; col < end; col++) {
            const double x = quantize_float_at(c->source_type, c->source, row * c->source_ld + col);
            lowest = fmin(lowest, x);
            highest = fmax(highest, x);
        }
    }
    block_oracle o = {0};
    if (c->options.type == KRN_TYPE_C4) {
        const float *codebook = codebook_of(c);
        o.scale = f32((double)f32(fmax(-lowest, highest) * clip) / fmax(fabs(codebook[0]), fabs(codebook[15])));
        o.scale = stored_scale(c, o.scale);
        return o;
    }
    if (c->options.asymmetric) {
        const double low = (double)f32(lowest * clip), high = (double)f32(highest * clip);
        o.scale = stored_scale(c, f32((high - low) / (q_max - q_min)));
        o.zero = q_min;
        if (o.scale > 0) {
            const double inverse = (double)f32(1 / (double)o.scale);
            const double zero = q_min - nearbyint((double)f32(low * inverse));
            o.zero = (int32_t)fmax(q_min, fmin(q_max, zero));
        }
        o.low = q_min;
        o.high = q_max;
    } else {
        const int32_t steps = eight ? 127 : 7;
        o.scale = stored_scale(c, f32((double)f32(fmax(-lowest, highest) * clip) / steps));
        o.zero = is_signed ? 0 : eight ? 128 : 8;
        o.low = o.zero - steps;
        o.high = o.zero + steps;
    }
    return o;
}

static int32_t code_at(const quantize_case *c, const quantize_result *r, int64_t row, int64_t col) {
    const uint8_t *codes = r->codes + row * c->codes_ld_bytes;
    switch (c->options.type) {
    case KRN_TYPE_S8: return (int8_t)codes[col];
    case KRN_TYPE_U8: return codes[col];
    default: break;
    }
    const int32_t nibble = (codes[col / 2] >> (col % 2 * 4)) & 15;
    return c->options.type == KRN_TYPE_S4 && nibble > 7 ? nibble - 16 : nibble;
}

/* Checks one element and returns x - x^. */
static double check_element(const quantize_case *c, const quantize_result *r, const block_oracle *o, int64_t row,
                            int64_t col) {
    const double x = quantize_float_at(c->source_type, c->source, row * c->source_ld + col);
    int32_t expected = o->zero;
    if (o->scale > 0) {
        const double scaled = (double)f32(x * (double)f32(1 / (double)o->scale));
        expected += (int32_t)nearbyint(fmax(o->low - o->zero, fmin(o->high - o->zero, scaled)));
    }
    if (c->options.type == KRN_TYPE_C4)
        expected = nearest_code(c, o, x);
    const int32_t code = code_at(c, r, row, col);
    CHECK(code == expected, "code[%lld, %lld] of %a is %d, not %d", (long long)row, (long long)col, x, code, expected);
    const double unscaled = c->options.type == KRN_TYPE_C4 ? (double)codebook_of(c)[code] : code - o->zero;
    const float value = f32(unscaled * (double)o->scale);
    const double decoded = quantize_float_at(c->target_type, r->target, row * c->target_ld + col);
    const double rounded = round_to(c->target_type, (double)value);
    CHECK(decoded == rounded && signbit(decoded) == signbit(rounded), "target[%lld, %lld] is %a, not %a",
          (long long)row, (long long)col, decoded, rounded);
    return x - (double)value;
}

static void check_padding(const void *buffer, int64_t rows, int64_t row_bytes, int64_t ld_bytes, int64_t bytes,
                          const char *name) {
    for (int64_t i = 0; i < bytes; i++)
        if (i % ld_bytes >= row_bytes)
            CHECK(((const uint8_t *)buffer)[i] == 0xA5, "padding of %s, byte %lld of %lld rows, was written", name,
                  (long long)i, (long long)rows);
}

void quantize_case_check(const quantize_case *c, const quantize_result *r) {
    const int64_t group = c->options.granularity == KRN_GRANULARITY_GROUP && c->options.group_size < c->cols
                              ? c->options.group_size
                              : c->cols;
    const int64_t blocks = (c->cols + group - 1) / group;
    block_oracle o = {0};
    krn_quantize_error error = {0, 0};
    for (int64_t row = 0; row < c->rows; row++) {
        double squares = 0;
        for (int64_t col = 0; col < c->cols; col++) {
            int64_t index = 0;
            if (c->options.granularity != KRN_GRANULARITY_TENSOR) {
                index = row * blocks + col / group;
                if (col % group == 0)
                    o = oracle_of(c, row, row + 1, col, col + group < c->cols ? col + group : c->cols);
            } else if (row == 0 && col == 0) {
                o = oracle_of(c, 0, c->rows, 0, c->cols);
            }
            CHECK(r->scales[index] == o.scale, "scale %lld is %a, not %a", (long long)index, (double)r->scales[index],
                  (double)o.scale);
            CHECK(r->zero_points == NULL || r->zero_points[index] == o.zero, "zero point %lld is %d, not %d",
                  (long long)index, r->zero_points == NULL ? 0 : r->zero_points[index], o.zero);
            const double difference = check_element(c, r, &o, row, col);
            squares += difference * difference;
            error.max_abs_error = fmax(error.max_abs_error, fabs(difference));
        }
        error.mean_squared_error += squares;
        if (krn_type_row_bytes(c->options.type, c->cols) * 2 > c->cols && c->cols % 2 == 1 &&
            c->options.type >= KRN_TYPE_S4)
            CHECK(r->codes[row * c->codes_ld_bytes + c->cols / 2] >> 4 == 0, "the last high nibble of row %lld",
                  (long long)row);
    }
    error.mean_squared_error /= (double)(c->rows * c->cols);
    CHECK(r->error.max_abs_error == error.max_abs_error, "max abs error %a, not %a", r->error.max_abs_error,
          error.max_abs_error);
    CHECK(r->error.mean_squared_error == error.mean_squared_error, "mean squared error %a, not %a",
          r->error.mean_squared_error, error.mean_squared_error);
    check_padding(r->codes, c->rows, krn_type_row_bytes(c->options.type, c->cols), c->codes_ld_bytes, r->codes_bytes,
                  "codes");
    check_padding(r->target, c->rows, c->cols * bytes_of(c->target_type), c->target_ld * bytes_of(c->target_type),
                  r->target_bytes, "target");
}

void quantize_case_compare(const quantize_case *c, const quantize_result *expected, const quantize_result *actual,
                           const char *who) {
    const size_t scale_bytes = (size_t)expected->scale_count * 4;
    CHECK(memcmp(expected->scales, actual->scales, scale_bytes) == 0, "scales of %s", who);
    CHECK(expected->zero_points == NULL || memcmp(expected->zero_points, actual->zero_points, scale_bytes) == 0,
          "zero points of %s", who);
    CHECK(memcmp(expected->codes, actual->codes, (size_t)expected->codes_bytes) == 0,
          "codes of %s, %lld x %lld, type %d", who, (long long)c->rows, (long long)c->cols, c->options.type);
    CHECK(memcmp(expected->target, actual->target, (size_t)expected->target_bytes) == 0,
          "target of %s, %lld x %lld, type %d to %d", who, (long long)c->rows, (long long)c->cols, c->options.type,
          c->target_type);
    CHECK(memcmp(&expected->error, &actual->error, sizeof expected->error) == 0, "error of %s", who);
}
