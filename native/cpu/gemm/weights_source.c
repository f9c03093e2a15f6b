#include "gemm/weights_source.h"

#include "common/convert.h"
#include "common/status.h"

#include <math.h>
#include <stddef.h>

/* An array that is wanted must be there, one that is not must not: a caller who passes it expects something of it.
 * `why` ends the sentence about one that is not wanted. */
static krn_status check_presence(const char *name, const void *array, int wanted, int64_t count, const char *why) {
    if (wanted && array == NULL && count > 0)
        return krn_fail(KRN_ERROR_NULL_ARGUMENT, "source->%s is NULL", name);
    if (!wanted && array != NULL)
        return krn_fail(KRN_ERROR_INVALID_ARGUMENT, "source->%s must be NULL %s", name, why);
    return KRN_OK;
}

static krn_status check_finite(const char *name, int32_t type, const void *values, int64_t count) {
    for (int64_t i = 0; i < count; i++)
        if (!isfinite(krn_float_at(type, values, i)))
            return krn_fail(KRN_ERROR_NON_FINITE, "source->%s[%lld] is not finite", name, (long long)i);
    return KRN_OK;
}

/* Tables and their scales: a product or sum may overflow where all factors are finite. */
static krn_status check_nested(const krn_layout *layout, const krn_weights_source *source) {
    krn_status status = check_finite("scale_map", KRN_TYPE_F32, source->scale_map, KRN_SCALE_MAP_SIZE);
    if (status == KRN_OK)
        status = check_finite("nested_scales", KRN_TYPE_F32, source->nested_scales, layout->num_nested);
    if (status == KRN_OK)
        status = check_finite("scale_offset", KRN_TYPE_F32, &source->scale_offset, 1);
    if (status != KRN_OK)
        return status;
    const uint8_t *codes = source->scales;
    for (int64_t i = 0; i < layout->num_scales; i++) {
        const float product = source->scale_map[codes[i]] * source->nested_scales[i / KRN_NESTED_BLOCK];
        if (!isfinite(product + source->scale_offset))
            return krn_fail(KRN_ERROR_NON_FINITE, "source->scales[%lld] dequantizes to infinity", (long long)i);
    }
    return KRN_OK;
}

static krn_status check_arrays(const krn_layout *layout, const krn_weights_source *source) {
    const int64_t count = layout->num_scales;
    const int is_nested = krn_layout_is_nested(layout);
    krn_status status = check_presence("codes", source->codes, 1, layout->n * layout->k, "");
    if (status == KRN_OK)
        status = check_presence("scales", source->scales, 1, count, "");
    if (status == KRN_OK)
        status = check_presence("zero_points", source->zero_points, krn_layout_has_zeros(layout), count,
                                "but for KRN_TYPE_U4 with zero_type 0");
    if (status == KRN_OK)
        status =
            check_presence("zero_offsets", source->zero_offsets, layout->zero_type != 0, count, "without a zero_type");
    if (status == KRN_OK)
        status = check_presence("codebook", source->codebook, layout->format == KRN_TYPE_C4, KRN_CODEBOOK_SIZE,
                                "but for KRN_TYPE_C4");
    if (status == KRN_OK)
        status = check_presence("group_index", source->group_index, layout->ordered, layout->k, "without ordered");
    if (status == KRN_OK)
        status = check_presence("scale_map", source->scale_map, is_nested, KRN_SCALE_MAP_SIZE,
                                "but for scales of KRN_TYPE_U8");
    if (status == KRN_OK)
        status = check_presence("nested_scales", source->nested_scales, is_nested, layout->num_nested,
                                "but for scales of KRN_TYPE_U8");
    if (status == KRN_OK)
        status = check_presence("outlier_columns", source->outlier_columns, layout->num_outliers > 0,
                                layout->num_outliers, "without outlier columns");
    if (status == KRN_OK && layout->num_outliers == 0)
        status = check_presence("outlier_weights", source->outlier_weights, 0, 0, "without outlier columns");
    return status;
}

static krn_status check_outliers(const krn_layout *layout, const krn_weights_source *source) {
    const int32_t *columns = source->outlier_columns;
    for (int64_t j = 0; j < layout->num_outliers; j++)
        if (columns[j] < 0 || columns[j] >= layout->k || (j > 0 && columns[j] <= columns[j - 1]))
            return krn_fail(KRN_ERROR_INVALID_ARGUMENT,
                            "source->outlier_columns[%lld] is %d, not above the one before it and in 0..%lld",
                            (long long)j, columns[j], (long long)(layout->k - 1));
    if (source->outlier_weights == NULL)
        return KRN_OK;
    return check_finite("outlier_weights", layout->outlier_type, source->outlier_weights,
                        layout->n * layout->num_outliers);
}

static krn_status check_values(const krn_layout *layout, const krn_weights_source *source) {
    krn_status status = krn_layout_is_nested(layout)
                            ? check_nested(layout, source)
                            : check_finite("scales", layout->scale_type, source->scales, layout->num_scales);
    if (status == KRN_OK && layout->zero_type != 0)
        status = check_finite("zero_offsets", layout->zero_type, source->zero_offsets, layout->num_scales);
    if (status == KRN_OK && layout->format == KRN_TYPE_C4)
        status = check_finite("codebook", KRN_TYPE_F32, source->codebook, KRN_CODEBOOK_SIZE);
    if (status == KRN_OK)
        status = check_outliers(layout, source);
    for (int64_t i = 0; status == KRN_OK && krn_layout_has_zeros(layout) && i < layout->num_scales; i++)
        if (source->zero_points[i] < 0 || source->zero_points[i] > 15)
            return krn_fail(KRN_ERROR_INVALID_ARGUMENT, "source->zero_points[%lld] is %d, not in 0..15", (long long)i,
                            source->zero_points[i]);
    return status;
}

krn_status krn_weights_check_source(const krn_layout *layout, const krn_weights_source *source) {
    if (source == NULL)
        return krn_fail(KRN_ERROR_NULL_ARGUMENT, "source is NULL");
    if (source->struct_size != sizeof *source)
        return krn_fail(KRN_ERROR_STRUCT_SIZE, "source->struct_size is %u, this library knows %u", source->struct_size,
                        (unsigned)sizeof *source);
    if (source->high_nibble_first != 0 && source->high_nibble_first != 1)
        return krn_fail(KRN_ERROR_INVALID_ARGUMENT, "source->high_nibble_first is %d, neither 0 nor 1",
                        source->high_nibble_first);
    if (source->reserved != 0)
        return krn_fail(KRN_ERROR_INVALID_ARGUMENT, "source->reserved is %d, must be 0", source->reserved);
    if (!krn_layout_is_nested(layout) && source->scale_offset != 0)
        return krn_fail(KRN_ERROR_INVALID_ARGUMENT, "source->scale_offset must be 0 but for scales of KRN_TYPE_U8");
    krn_status status = check_arrays(layout, source);
    if (status != KRN_OK)
        return status;
    const int64_t row_bytes = krn_type_row_bytes(layout->format, layout->k);
    if (source->codes_ld_bytes < row_bytes)
        return krn_fail(KRN_ERROR_LEADING_DIMENSION, "source->codes_ld_bytes is %lld, a row takes %lld",
                        (long long)source->codes_ld_bytes, (long long)row_bytes);
    return check_values(layout, source);
}
