/* Options of quantization: their checks, and what they mean for the arithmetic. The doors of every library take these. */
#include "common/checks.h"
#include "common/status.h"
#include "quantize/quantize_rows.h"

#include <float.h>
#include <math.h>
#include <stddef.h>

int32_t krn_quantize_code_bits(int32_t type) {
    switch (type) {
    case KRN_TYPE_S8:
    case KRN_TYPE_U8: return 8;
    case KRN_TYPE_S4:
    case KRN_TYPE_U4:
    case KRN_TYPE_C4: return 4;
    default: return 0;
    }
}

static const float *codebook_of(const krn_quantize_options *options) {
    if (options->type != KRN_TYPE_C4)
        return NULL;
    return options->codebook == NULL ? krn_nf4_codebook() : options->codebook;
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

krn_status krn_quantize_check_options(const krn_quantize_options *options) {
    if (options == NULL)
        return krn_fail(KRN_ERROR_NULL_ARGUMENT, "options is NULL");
    if (options->struct_size != sizeof(krn_quantize_options))
        return krn_fail(KRN_ERROR_STRUCT_SIZE, "options->struct_size is %u, this library knows %u",
                        options->struct_size, (unsigned)sizeof(krn_quantize_options));
    if (krn_quantize_code_bits(options->type) == 0)
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
    if (options->scale_type != 0 && !krn_is_float(options->scale_type))
        return krn_fail(KRN_ERROR_INVALID_ARGUMENT,
                        "options->scale_type is %d, not 0, KRN_TYPE_F32, KRN_TYPE_F16 or KRN_TYPE_BF16",
                        options->scale_type);
    return check_codebook(options);
}

int64_t krn_quantize_blocks_per_row(const krn_quantize_options *options, int64_t cols) {
    if (options->granularity != KRN_GRANULARITY_GROUP)
        return 1;
    return cols / options->group_size + (cols % options->group_size != 0);
}

int64_t krn_quantize_count_scales(const krn_quantize_options *options, int64_t rows, int64_t cols) {
    return options->granularity == KRN_GRANULARITY_TENSOR ? 1 : rows * krn_quantize_blocks_per_row(options, cols);
}

krn_status krn_quantize_check_codes(const krn_quantize_options *options, int64_t rows, int64_t cols, const void *codes,
                                    int64_t codes_ld_bytes, const float *scales, const int32_t *zero_points) {
    krn_status status = krn_check_buffer("codes", codes, rows * cols, 1);
    if (status == KRN_OK)
        status = krn_check_ld("codes_ld_bytes", codes_ld_bytes, rows, krn_type_row_bytes(options->type, cols), 1);
    const int64_t scale_count = krn_quantize_count_scales(options, rows, cols);
    if (status == KRN_OK)
        status = krn_check_buffer("scales", scales, scale_count, sizeof(float));
    if (status == KRN_OK && zero_points != NULL && options->type == KRN_TYPE_C4)
        status = krn_fail(KRN_ERROR_INVALID_ARGUMENT, "zero_points must be NULL for KRN_TYPE_C4");
    if (status == KRN_OK && (zero_points != NULL || options->asymmetric))
        status = krn_check_buffer("zero_points", zero_points, scale_count, sizeof(int32_t));
    return status;
}

krn_quantize_scheme krn_quantize_scheme_of(const krn_quantize_options *options) {
    krn_quantize_scheme scheme = {
        .asymmetric = options->asymmetric,
        .bits = krn_quantize_code_bits(options->type),
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
        scheme.is_unclipped = scheme.clip_ratio == 1 && (scheme.scale_type == 0 || scheme.scale_type == KRN_TYPE_F32);
    }
    return scheme;
}
