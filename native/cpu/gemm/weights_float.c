/* Floats to packed weights: quantize to a temporary copy of codes and scales, then pack it. */
#include "common/context.h"
#include "common/convert.h"
#include "common/status.h"
#include "gemm/layout.h"

/* The temporary copy. */
typedef struct {
    void *codes, *scales, *stored_scales, *zero_points, *zero_offsets;
} copy;

static void free_copy(const copy *c) {
    krn_memory_free(c->codes);
    krn_memory_free(c->scales);
    krn_memory_free(c->stored_scales);
    krn_memory_free(c->zero_points);
    krn_memory_free(c->zero_offsets);
}

static krn_status check(const krn_weights_desc *desc, const krn_layout *layout, int64_t source_ld,
                        const float *codebook) {
    if (layout->ordered)
        return krn_fail(KRN_ERROR_UNSUPPORTED, "desc->ordered needs a group index, which floats do not have");
    if (layout->num_outliers > 0)
        return krn_fail(KRN_ERROR_UNSUPPORTED, "desc->num_outliers: quantize first, and pack codes and columns");
    if (krn_layout_is_nested(layout))
        return krn_fail(KRN_ERROR_UNSUPPORTED,
                        "desc->scale_type is KRN_TYPE_U8: quantize first, and pack codes and tables");
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
                                  .scale_type = layout->scale_type,
                                  .codebook = codebook};
}

/* Scales are rounded to their type already: the quantizer made the codes with the rounded ones. */
static void store_scales(const krn_layout *layout, const copy *c) {
    const float *scales = c->scales;
    const int32_t *zeros = c->zero_points;
    for (int64_t i = 0; i < layout->num_scales; i++) {
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
        const krn_weights_source packed = {.struct_size = sizeof packed,
                                           .codes = c.codes,
                                           .codes_ld_bytes = row_bytes,
                                           .scales = c.stored_scales,
                                           .zero_points = layout.zero_type != 0 ? NULL : c.zero_points,
                                           .zero_offsets = c.zero_offsets,
                                           .codebook = codebook};
        status = krn_weights_pack(context, desc, &packed, out);
    }
    free_copy(&c);
    return status;
}
