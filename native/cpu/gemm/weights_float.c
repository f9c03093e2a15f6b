/* Floats to packed weights: quantize to a temporary copy of codes and scales, then pack it. */
#include "common/context.h"
#include "common/convert.h"
#include "common/status.h"
#include "gemm/layout.h"

#include <math.h>

/* The temporary copy. */
typedef struct {
    void *codes, *scales, *stored_scales, *zero_points, *zero_offsets, *nested_scales;
    float scale_map[KRN_SCALE_MAP_SIZE], scale_offset;
} copy;

static void free_copy(const copy *c) {
    krn_memory_free(c->codes);
    krn_memory_free(c->scales);
    krn_memory_free(c->stored_scales);
    krn_memory_free(c->zero_points);
    krn_memory_free(c->zero_offsets);
    krn_memory_free(c->nested_scales);
}

static krn_status check(const krn_weights_desc *desc, const krn_layout *layout, int64_t source_ld,
                        const float *codebook) {
    if (layout->ordered)
        return krn_fail(KRN_ERROR_UNSUPPORTED, "desc->ordered needs a group index, which floats do not have");
    if (layout->num_outliers > 0)
        return krn_fail(KRN_ERROR_UNSUPPORTED, "desc->num_outliers: quantize first, and pack codes and columns");
    if (layout->zero_type != 0 && desc->format != KRN_TYPE_U4)
        return krn_fail(KRN_ERROR_UNSUPPORTED, "desc->zero_type: float offsets are made for KRN_TYPE_U4 only");
    if (codebook != NULL && desc->format != KRN_TYPE_C4)
        return krn_fail(KRN_ERROR_INVALID_ARGUMENT, "codebook must be NULL but for KRN_TYPE_C4");
    if (layout->flat_size > 0 && source_ld != desc->k)
        return krn_fail(KRN_ERROR_LEADING_DIMENSION,
                        "source_ld is %lld, K is %lld: flattened groups that cross rows take a source without gaps",
                        (long long)source_ld, (long long)desc->k);
    return KRN_OK;
}

static krn_quantize_options options_of(const krn_weights_desc *desc, const krn_layout *layout, float clip_ratio,
                                       const float *codebook) {
    return (krn_quantize_options){.struct_size = sizeof(krn_quantize_options),
                                  .type = desc->format,
                                  .granularity =
                                      desc->group_size == 0 ? KRN_GRANULARITY_CHANNEL : KRN_GRANULARITY_GROUP,
                                  .asymmetric = desc->format == KRN_TYPE_U4,
                                  .group_size = desc->group_size,
                                  .clip_ratio = clip_ratio,
                                  .scale_type = krn_layout_is_nested(layout) ? KRN_TYPE_F32 : layout->scale_type,
                                  .codebook = codebook};
}

/* The map of double-quantized scales (weights.h), ascending. */
static void fill_scale_map(float *map) {
    enum { ZERO = 127 };
    double power = 1e-6;
    int next = ZERO;
    map[next++] = 0;
    for (int i = 0; i < 7; i++, power *= 10)
        for (int j = 0; j < 1 << i; j++, next++) {
            map[next] = (float)(power * (0.1 + 0.9 * (j + 0.5) / (1 << i)));
            map[2 * ZERO - next] = -map[next];
        }
    map[next] = 1;
}

/* The nearest entry, the lower one of two that are equally near. */
static uint8_t nearest_entry(const float *map, double value) {
    int low = 0, high = KRN_SCALE_MAP_SIZE - 1;
    while (low < high) {
        const int middle = (low + high) / 2;
        if (value <= ((double)map[middle] + map[middle + 1]) / 2)
            high = middle;
        else
            low = middle + 1;
    }
    return (uint8_t)low;
}

/* Scales to codes, tables and what these dequantize to. */
static void double_quantize(int64_t count, copy *c) {
    float *scales = c->scales, *nested = c->nested_scales;
    uint8_t *codes = c->stored_scales;
    double sum = 0;
    for (int64_t i = 0; i < count; i++)
        sum += scales[i];
    c->scale_offset = count == 0 ? 0 : (float)(sum / (double)count);
    fill_scale_map(c->scale_map);
    for (int64_t start = 0; start < count; start += KRN_NESTED_BLOCK, nested++) {
        const int64_t end = count - start < KRN_NESTED_BLOCK ? count : start + KRN_NESTED_BLOCK;
        *nested = 0;
        for (int64_t i = start; i < end; i++)
            *nested = fmaxf(*nested, fabsf(scales[i] - c->scale_offset));
        for (int64_t i = start; i < end; i++) {
            const double rest = (double)scales[i] - c->scale_offset;
            codes[i] = nearest_entry(c->scale_map, *nested == 0 ? 0 : rest / *nested);
            const float product = c->scale_map[codes[i]] * *nested;
            scales[i] = product + c->scale_offset;
        }
    }
}

/* Scales of a float type are rounded to it already: the quantizer made the codes with the rounded ones. */
static void store_scales(const krn_layout *layout, copy *c) {
    const float *scales = c->scales;
    const int32_t *zeros = c->zero_points;
    if (krn_layout_is_nested(layout))
        double_quantize(layout->num_scales, c);
    for (int64_t i = 0; i < layout->num_scales; i++) {
        if (!krn_layout_is_nested(layout))
            krn_put_float(layout->scale_type, c->stored_scales, i, scales[i]);
        if (layout->zero_type != 0)
            krn_put_float(layout->zero_type, c->zero_offsets, i, -(float)zeros[i] * scales[i]);
    }
}

/* Never 0 bytes: an empty tensor still takes valid pointers. */
static krn_status allocate(const krn_layout *layout, int64_t row_bytes, copy *c) {
    krn_status status = krn_memory_allocate(layout->n * row_bytes + 1, &c->codes);
    /* The quantizer gives an empty channel a scale, which is not packed. */
    const int64_t count = layout->num_scales + layout->n;
    if (status == KRN_OK)
        status = krn_memory_allocate(count * (int64_t)sizeof(float) + 1, &c->scales);
    if (status == KRN_OK)
        status = krn_memory_allocate(count * (int64_t)sizeof(float) + 1, &c->stored_scales);
    if (status == KRN_OK && layout->format == KRN_TYPE_U4)
        status = krn_memory_allocate(count * (int64_t)sizeof(int32_t) + 1, &c->zero_points);
    if (status == KRN_OK && krn_layout_is_nested(layout))
        status = krn_memory_allocate((layout->num_nested + 1) * (int64_t)sizeof(float), &c->nested_scales);
    if (status == KRN_OK && layout->zero_type != 0)
        status = krn_memory_allocate(count * (int64_t)sizeof(float) + 1, &c->zero_offsets);
    return status;
}

krn_status krn_weights_pack_float(krn_context *context, const krn_weights_desc *desc, int32_t source_type,
                                  const void *source, int64_t source_ld, float clip_ratio, const float *codebook,
                                  krn_weights **out, krn_quantize_error *error) {
    if (out == NULL)
        return krn_fail(KRN_ERROR_NULL_ARGUMENT, "weights is NULL");
    krn_layout layout;
    krn_status status = krn_layout_of(desc, &layout);
    if (status == KRN_OK)
        status = check(desc, &layout, source_ld, codebook);
    if (status != KRN_OK)
        return status;
    if (codebook == NULL && desc->format == KRN_TYPE_C4)
        codebook = krn_nf4_codebook();
    const krn_quantize_options options = options_of(desc, &layout, clip_ratio, codebook);
    const int64_t row_bytes = krn_type_row_bytes(desc->format, desc->k);
    /* Groups that cross rows are groups of one long row. */
    const int is_flat = layout.flat_size > 0;
    const int64_t rows = is_flat ? 1 : desc->n, cols = is_flat ? desc->n * desc->k : desc->k;
    copy c = {0};
    status = allocate(&layout, row_bytes, &c);
    if (status == KRN_OK)
        status = krn_quantize(context, &options, rows, cols, source_type, source, is_flat ? cols : source_ld, c.codes,
                              is_flat ? desc->n * row_bytes : row_bytes, c.scales, c.zero_points, error);
    if (status == KRN_OK) {
        store_scales(&layout, &c);
        const int is_nested = krn_layout_is_nested(&layout);
        const krn_weights_source packed = {.struct_size = sizeof packed,
                                           .codes = c.codes,
                                           .codes_ld_bytes = row_bytes,
                                           .scales = c.stored_scales,
                                           .zero_points = layout.zero_type != 0 ? NULL : c.zero_points,
                                           .zero_offsets = c.zero_offsets,
                                           .codebook = codebook,
                                           .scale_map = is_nested ? c.scale_map : NULL,
                                           .nested_scales = c.nested_scales,
                                           .scale_offset = c.scale_offset};
        status = krn_weights_pack(context, desc, &packed, out);
    }
    free_copy(&c);
    return status;
}
