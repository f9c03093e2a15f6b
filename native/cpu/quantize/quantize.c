/* The door of quantization: checks, the choice of a variant, and nothing else. */
#include "kernels/quantize.h"

#include "common/checks.h"
#include "common/context.h"
#include "common/status.h"
#include "quantize/quantize_rows.h"

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

int64_t krn_type_row_bytes(int32_t type, int64_t cols) {
    if (cols < 0)
        return -1;
    if (krn_is_float(type))
        return cols > INT64_MAX / 4 ? -1 : cols * krn_element_bytes(type);
    if (type == KRN_TYPE_F8E4M3)
        return cols;
    switch (krn_quantize_code_bits(type)) {
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

krn_status krn_quantize_scale_count(const krn_quantize_options *options, int64_t rows, int64_t cols, int64_t *count) {
    krn_status status = krn_quantize_check_options(options);
    if (status == KRN_OK)
        status = krn_check_shape(rows, cols);
    if (status != KRN_OK)
        return status;
    if (count == NULL)
        return krn_fail(KRN_ERROR_NULL_ARGUMENT, "count is NULL");
    *count = krn_quantize_count_scales(options, rows, cols);
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
    if (!krn_is_float(a->float_type))
        return krn_fail(KRN_ERROR_INVALID_ARGUMENT, "%s is %d, not one of KRN_TYPE_F32, _F16 and _BF16", a->names->type,
                        a->float_type);
    const int64_t bytes = krn_element_bytes(a->float_type);
    const krn_status status = krn_check_buffer(a->names->buffer, a->floats, a->rows * a->cols, bytes);
    return status != KRN_OK ? status : krn_check_ld(a->names->ld, a->float_ld, a->rows, a->cols, bytes);
}

static krn_status check_arguments(const arguments *a) {
    if (a->context == NULL)
        return krn_fail(KRN_ERROR_NULL_ARGUMENT, "context is NULL");
    krn_status status = krn_quantize_check_options(a->options);
    if (status == KRN_OK)
        status = krn_check_shape(a->rows, a->cols);
    if (status == KRN_OK)
        status = check_floats(a);
    if (status == KRN_OK)
        status = krn_quantize_check_codes(a->options, a->rows, a->cols, a->codes, a->codes_ld_bytes, a->scales,
                                          a->zero_points);
    return status;
}

krn_quantize_job krn_quantize_job_of(krn_context *context, const krn_quantize_options *options, int64_t rows,
                                     int64_t cols, int32_t float_type) {
    const int64_t per_row = krn_quantize_blocks_per_row(options, cols);
    const int per_group = options->granularity == KRN_GRANULARITY_GROUP;
    const krn_quantize_scheme scheme = krn_quantize_scheme_of(options);
    return (krn_quantize_job){
        .context = context,
        .kernels = krn_quantize_kernels_of(context),
        .scheme = scheme,
        .rows = rows,
        .cols = cols,
        .block = per_group ? krn_min(options->group_size, cols) : cols,
        .blocks_per_row = per_row,
        .scales_per_row = options->granularity == KRN_GRANULARITY_TENSOR ? 0 : per_row,
        .float_type = float_type,
        .stream = scheme.bits == 8 && rows * cols * (krn_element_bytes(float_type) + 1) > KRN_QUANTIZE_STREAM_BYTES,
    };
}

static krn_quantize_job job_of(krn_context *context, const arguments *a) {
    krn_quantize_job job = krn_quantize_job_of(context, a->options, a->rows, a->cols, a->float_type);
    job.float_ld_bytes = a->float_ld * krn_element_bytes(a->float_type);
    job.codes_ld_bytes = a->codes_ld_bytes;
    return job;
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
        for (int64_t i = 0; i < krn_quantize_count_scales(options, rows, cols); i++) {
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
        status = check_zero_points(zero_points, krn_quantize_count_scales(options, rows, cols));
    if (status != KRN_OK || rows == 0 || cols == 0)
        return status;
    const krn_quantize_job job = job_of(context, &a);
    krn_dequantize_run(&job, codes, scales, zero_points, target);
    return KRN_OK;
}
