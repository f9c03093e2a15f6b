/* The door of quantization: checks, the choice of a variant, and nothing else. */
#include "kernels/quantize.h"

#include "common/context.h"
#include "common/status.h"
#include "quantize/quantize_rows.h"

#include <float.h>
#include <math.h>
#include <stddef.h>

#define ADDRESS(variant) &variant,
static const krn_quantize_kernels *const variants[] = {KRN_QUANTIZE_VARIANTS(ADDRESS)};
#undef ADDRESS

const krn_quantize_kernels *krn_quantize_kernels_of(const krn_context *context) {
    const krn_quantize_kernels *const *variant = variants;
    /* The reference is last and needs no features. */
    while (((*variant)->features & ~context->features) != 0)
        variant++;
    return *variant;
}

const char *krn_quantize_variant(const krn_context *context) {
    return context == NULL ? NULL : krn_quantize_kernels_of(context)->name;
}

/* Bits of a code of `type`; 0 for a type that is not one of codes. */
static int32_t code_bits(int32_t type) {
    switch (type) {
    case KRN_TYPE_S8:
    case KRN_TYPE_U8: return 8;
    case KRN_TYPE_S4:
    case KRN_TYPE_U4:
    case KRN_TYPE_C4: return 4;
    default: return 0;
    }
}

static int is_float(int32_t type) { return type == KRN_TYPE_F32 || type == KRN_TYPE_F16 || type == KRN_TYPE_BF16; }

int64_t krn_type_row_bytes(int32_t type, int64_t cols) {
    if (cols < 0)
        return -1;
    if (is_float(type))
        return cols > INT64_MAX / 4 ? -1 : cols * krn_element_bytes(type);
    if (type == KRN_TYPE_F8E4M3)
        return cols;
    switch (code_bits(type)) {
    case 8: return cols;
    case 4: return cols / 2 + cols % 2;
    default: return -1;
    }
}

/* To 16 digits: with 8 the seventh entry would round to another float. */
static const float NF4[16] = {-1.0f,
                              -0.6961928009986877f,
                              -0.5250730514526367f,
                              -0.3949174880981445f,
                              -0.2844413816928864f,
                              -0.1847734302282333f,
                              -0.0910500362515450f,
                              0.0f,
                              0.0795802995562553f,
                              0.1609302014112473f,
                              0.2461123019456863f,
                              0.3379152417182922f,
                              0.4407098293304443f,
                              0.5626170039176941f,
                              0.7229568362236023f,
                              1.0f};

const float *krn_nf4_codebook(void) { return NF4; }

static const float *codebook_of(const krn_quantize_options *options) {
    if (options->type != KRN_TYPE_C4)
        return NULL;
    return options->codebook == NULL ? NF4 : options->codebook;
}

/* Entries lie between the outer two. */
static float largest_entry(const float *codebook) { return fmaxf(fabsf(codebook[0]), fabsf(codebook[15])); }

static krn_status check_codebook(const krn_quantize_options *options) {
    if (options->type != KRN_TYPE_C4) {
        if (options->codebook != NULL)
            return krn_fail(KRN_ERROR_INVALID_ARGUMENT, "options->codebook must be NULL but for KRN_TYPE_C4");
        return KRN_OK;
    }
    if (options->asymmetric)
        return krn_fail(KRN_ERROR_INVALID_ARGUMENT, "options->asymmetric must be 0 for KRN_TYPE_C4");
    const float *codebook = codebook_of(options);
    for (int i = 0; i < 16; i++) {
        if (!isfinite(codebook[i]))
            return krn_fail(KRN_ERROR_NON_FINITE, "options->codebook[%d] is not finite", i);
        if (i > 0 && codebook[i] < codebook[i - 1])
            return krn_fail(KRN_ERROR_INVALID_ARGUMENT, "options->codebook[%d] is below the entry before it", i);
    }
    if (largest_entry(codebook) < FLT_MIN)
        return krn_fail(KRN_ERROR_INVALID_ARGUMENT, "options->codebook has no entry of at least 2^-126");
    return KRN_OK;
}

static krn_status check_options(const krn_quantize_options *options) {
    if (options == NULL)
        return krn_fail(KRN_ERROR_NULL_ARGUMENT, "options is NULL");
    if (options->struct_size != sizeof(krn_quantize_options))
        return krn_fail(KRN_ERROR_STRUCT_SIZE, "options->struct_size is %u, this library knows %u",
                        options->struct_size, (unsigned)sizeof(krn_quantize_options));
    if (code_bits(options->type) == 0)
        return krn_fail(KRN_ERROR_INVALID_ARGUMENT,
                        "options->type is %d, not one of KRN_TYPE_S8, _U8, _S4, _U4 and _C4", options->type);
    if (options->granularity < KRN_GRANULARITY_TENSOR || options->granularity > KRN_GRANULARITY_GROUP)
        return krn_fail(KRN_ERROR_INVALID_ARGUMENT, "options->granularity is %d, which is not a krn_granularity",
                        options->granularity);
    if (options->asymmetric != 0 && options->asymmetric != 1)
        return krn_fail(KRN_ERROR_INVALID_ARGUMENT, "options->asymmetric is %d, neither 0 nor 1", options->asymmetric);
    if (options->granularity == KRN_GRANULARITY_GROUP && options->group_size < KRN_QUANTIZE_MIN_GROUP)
        return krn_fail(KRN_ERROR_INVALID_ARGUMENT, "options->group_size is %lld, must be at least %d",
                        (long long)options->group_size, KRN_QUANTIZE_MIN_GROUP);
    /* Written so that NaN fails. */
    if (!(options->clip_ratio >= 0 && options->clip_ratio <= 1))
        return krn_fail(KRN_ERROR_INVALID_ARGUMENT, "options->clip_ratio is %g, not in 0..1",
                        (double)options->clip_ratio);
    if (options->scale_type != 0 && !is_float(options->scale_type))
        return krn_fail(KRN_ERROR_INVALID_ARGUMENT,
                        "options->scale_type is %d, not 0, KRN_TYPE_F32, KRN_TYPE_F16 or KRN_TYPE_BF16",
                        options->scale_type);
    return check_codebook(options);
}

/* Sizes of a tensor, small enough that no later product of them overflows: 4 bytes and one scale and zero point for
 * every element fit int64_t. */
static krn_status check_shape(int64_t rows, int64_t cols) {
    if (rows < 0)
        return krn_fail(KRN_ERROR_SHAPE, "rows is %lld, must not be negative", (long long)rows);
    if (cols < 0)
        return krn_fail(KRN_ERROR_SHAPE, "cols is %lld, must not be negative", (long long)cols);
    const int64_t most_elems = INT64_MAX / 8;
    if (rows > most_elems || cols > most_elems || (cols > 0 && rows > most_elems / cols))
        return krn_fail(KRN_ERROR_SHAPE, "rows x cols is %lld x %lld, which does not fit the address space",
                        (long long)rows, (long long)cols);
    return KRN_OK;
}

static int64_t blocks_per_row(const krn_quantize_options *options, int64_t cols) {
    if (options->granularity != KRN_GRANULARITY_GROUP)
        return 1;
    return cols / options->group_size + (cols % options->group_size != 0);
}

static int64_t count_scales(const krn_quantize_options *options, int64_t rows, int64_t cols) {
    return options->granularity == KRN_GRANULARITY_TENSOR ? 1 : rows * blocks_per_row(options, cols);
}

krn_status krn_quantize_scale_count(const krn_quantize_options *options, int64_t rows, int64_t cols, int64_t *count) {
    krn_status status = check_options(options);
    if (status == KRN_OK)
        status = check_shape(rows, cols);
    if (status != KRN_OK)
        return status;
    if (count == NULL)
        return krn_fail(KRN_ERROR_NULL_ARGUMENT, "count is NULL");
    *count = count_scales(options, rows, cols);
    return KRN_OK;
}

/* A buffer with `elems` elements of `bytes` bytes in it. Without elements it may be anything. */
static krn_status check_buffer(const char *name, const void *buffer, int64_t elems, int64_t bytes) {
    if (elems == 0)
        return KRN_OK;
    if (buffer == NULL)
        return krn_fail(KRN_ERROR_NULL_ARGUMENT, "%s is NULL", name);
    if ((uintptr_t)buffer % (uintptr_t)bytes != 0)
        return krn_fail(KRN_ERROR_ALIGNMENT, "%s is not aligned to its elements of %lld bytes", name, (long long)bytes);
    return KRN_OK;
}

/* A leading dimension, in units of `unit_bytes`, against the `width` that a row takes in them. */
static krn_status check_ld(const char *name, int64_t ld, int64_t rows, int64_t width, int64_t unit_bytes) {
    if (ld < width)
        return krn_fail(KRN_ERROR_LEADING_DIMENSION, "%s is %lld, but a row takes %lld", name, (long long)ld,
                        (long long)width);
    if (rows > 0 && ld > INT64_MAX / unit_bytes / rows)
        return krn_fail(KRN_ERROR_LEADING_DIMENSION, "%s is %lld, too large for %lld rows", name, (long long)ld,
                        (long long)rows);
    return KRN_OK;
}

/* What the header calls the float matrix of a function. */
typedef struct {
    const char *type, *buffer, *ld;
} float_names;

/* The arguments that quantizing and dequantizing have in common, under the names that the header gives them. */
typedef struct {
    const krn_context *context;
    const krn_quantize_options *options;
    int64_t rows, cols;
    const void *codes;
    int64_t codes_ld_bytes;
    const float *scales;
    const int32_t *zero_points;
    const float_names *names;
    int32_t float_type;
    const void *floats;
    int64_t float_ld;
} arguments;

static krn_status check_floats(const arguments *a) {
    if (!is_float(a->float_type))
        return krn_fail(KRN_ERROR_INVALID_ARGUMENT, "%s is %d, not one of KRN_TYPE_F32, _F16 and _BF16", a->names->type,
                        a->float_type);
    const int64_t bytes = krn_element_bytes(a->float_type);
    const krn_status status = check_buffer(a->names->buffer, a->floats, a->rows * a->cols, bytes);
    return status != KRN_OK ? status : check_ld(a->names->ld, a->float_ld, a->rows, a->cols, bytes);
}

static krn_status check_codes(const arguments *a) {
    krn_status status = check_buffer("codes", a->codes, a->rows * a->cols, 1);
    if (status == KRN_OK)
        status =
            check_ld("codes_ld_bytes", a->codes_ld_bytes, a->rows, krn_type_row_bytes(a->options->type, a->cols), 1);
    const int64_t scale_count = count_scales(a->options, a->rows, a->cols);
    if (status == KRN_OK)
        status = check_buffer("scales", a->scales, scale_count, sizeof(float));
    if (status == KRN_OK && a->zero_points != NULL && a->options->type == KRN_TYPE_C4)
        status = krn_fail(KRN_ERROR_INVALID_ARGUMENT, "zero_points must be NULL for KRN_TYPE_C4");
    if (status == KRN_OK && (a->zero_points != NULL || a->options->asymmetric))
        status = check_buffer("zero_points", a->zero_points, scale_count, sizeof(int32_t));
    return status;
}

static krn_status check_arguments(const arguments *a) {
    if (a->context == NULL)
        return krn_fail(KRN_ERROR_NULL_ARGUMENT, "context is NULL");
    krn_status status = check_options(a->options);
    if (status == KRN_OK)
        status = check_shape(a->rows, a->cols);
    if (status == KRN_OK)
        status = check_floats(a);
    return status != KRN_OK ? status : check_codes(a);
}

krn_quantize_scheme krn_quantize_scheme_of(const krn_quantize_options *options) {
    krn_quantize_scheme scheme = {
        .asymmetric = options->asymmetric,
        .bits = code_bits(options->type),
        .clip_ratio = options->clip_ratio == 0 ? 1 : options->clip_ratio,
        .scale_type = options->scale_type,
        .codebook = codebook_of(options),
    };
    if (scheme.codebook != NULL) {
        for (int i = 0; i < 15; i++)
            scheme.midpoints[i] = (float)(((double)scheme.codebook[i] + (double)scheme.codebook[i + 1]) / 2);
        scheme.midpoints[15] = INFINITY;
        scheme.steps = largest_entry(scheme.codebook);
        return scheme;
    }
    const int is_signed = options->type == KRN_TYPE_S8 || options->type == KRN_TYPE_S4;
    const int32_t half = scheme.bits == 8 ? 128 : 8;
    scheme.flip = (uint8_t)(is_signed ? half : 0);
    if (scheme.asymmetric) {
        scheme.q_min = is_signed ? -half : 0;
        scheme.q_max = scheme.q_min + 2 * half - 1;
        scheme.zero = scheme.q_min;
    } else {
        scheme.q_min = -(half - 1);
        scheme.q_max = half - 1;
        scheme.zero = is_signed ? 0 : half;
        scheme.steps = (float)scheme.q_max;
    }
    return scheme;
}

static krn_quantize_job job_of(krn_context *context, const arguments *a) {
    const int64_t per_row = blocks_per_row(a->options, a->cols);
    const int per_group = a->options->granularity == KRN_GRANULARITY_GROUP;
    const int64_t element_bytes = krn_element_bytes(a->float_type);
    const krn_quantize_scheme scheme = krn_quantize_scheme_of(a->options);
    return (krn_quantize_job){
        .context = context,
        .kernels = krn_quantize_kernels_of(context),
        .scheme = scheme,
        .rows = a->rows,
        .cols = a->cols,
        .block = per_group ? krn_min(a->options->group_size, a->cols) : a->cols,
        .blocks_per_row = per_row,
        .scales_per_row = a->options->granularity == KRN_GRANULARITY_TENSOR ? 0 : per_row,
        .float_type = a->float_type,
        .float_ld_bytes = a->float_ld * element_bytes,
        .codes_ld_bytes = a->codes_ld_bytes,
        .stream = scheme.bits == 8 && a->rows * a->cols * (element_bytes + 1) > KRN_QUANTIZE_STREAM_BYTES,
    };
}

krn_status krn_quantize(krn_context *context, const krn_quantize_options *options, int64_t rows, int64_t cols,
                        int32_t source_type, const void *source, int64_t source_ld, void *codes, int64_t codes_ld_bytes,
                        float *scales, int32_t *zero_points, krn_quantize_error *error) {
    static const float_names names = {"source_type", "source", "source_ld"};
    const arguments a = {.context = context,
                         .options = options,
                         .rows = rows,
                         .cols = cols,
                         .codes = codes,
                         .codes_ld_bytes = codes_ld_bytes,
                         .scales = scales,
                         .zero_points = zero_points,
                         .names = &names,
                         .float_type = source_type,
                         .floats = source,
                         .float_ld = source_ld};
    krn_status status = check_arguments(&a);
    if (status != KRN_OK)
        return status;
    const krn_quantize_job job = job_of(context, &a);
    if (rows == 0 || cols == 0) {
        for (int64_t i = 0; i < count_scales(options, rows, cols); i++) {
            scales[i] = 0;
            if (zero_points != NULL)
                zero_points[i] = job.scheme.zero;
        }
        if (error != NULL)
            *error = (krn_quantize_error){0, 0};
        return KRN_OK;
    }
    status = krn_quantize_run(&job, source, codes, scales, zero_points);
    if (status == KRN_OK && error != NULL)
        krn_quantize_measure(&job, source, codes, scales, zero_points, error);
    return status;
}

static krn_status check_zero_points(const int32_t *zero_points, int64_t count) {
    for (int64_t i = 0; zero_points != NULL && i < count; i++)
        if (zero_points[i] < INT16_MIN || zero_points[i] > INT16_MAX)
            return krn_fail(KRN_ERROR_INVALID_ARGUMENT, "zero_points[%lld] is %d, not in %d..%d", (long long)i,
                            zero_points[i], INT16_MIN, INT16_MAX);
    return KRN_OK;
}

krn_status krn_dequantize(krn_context *context, const krn_quantize_options *options, int64_t rows, int64_t cols,
                          const void *codes, int64_t codes_ld_bytes, const float *scales, const int32_t *zero_points,
                          int32_t target_type, void *target, int64_t target_ld) {
    static const float_names names = {"target_type", "target", "target_ld"};
    const arguments a = {.context = context,
                         .options = options,
                         .rows = rows,
                         .cols = cols,
                         .codes = codes,
                         .codes_ld_bytes = codes_ld_bytes,
                         .scales = scales,
                         .zero_points = zero_points,
                         .names = &names,
                         .float_type = target_type,
                         .floats = target,
                         .float_ld = target_ld};
    krn_status status = check_arguments(&a);
    if (status == KRN_OK)
        status = check_zero_points(zero_points, count_scales(options, rows, cols));
    if (status != KRN_OK || rows == 0 || cols == 0)
        return status;
    const krn_quantize_job job = job_of(context, &a);
    krn_dequantize_run(&job, codes, scales, zero_points, target);
    return KRN_OK;
}
