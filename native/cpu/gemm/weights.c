/* The door of weights.h: checks, ownership, serialization. */
#include "kernels/weights.h"

#include "common/context.h"
#include "common/status.h"
#include "gemm/blob.h"
#include "gemm/layout.h"
#include "gemm/pack.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static krn_status create(const krn_weights_desc *desc, const krn_layout *layout, krn_weights **out) {
    krn_weights *weights = calloc(1, sizeof *weights);
    if (weights == NULL)
        return krn_fail(KRN_ERROR_OUT_OF_MEMORY, "could not allocate a weights handle");
    weights->desc = *desc;
    weights->layout = *layout;
    void *packed = NULL;
    const krn_status status = krn_memory_allocate(layout->packed_bytes, &packed);
    if (status != KRN_OK) {
        free(weights);
        return status;
    }
    weights->packed = packed;
    *out = weights;
    return KRN_OK;
}

static krn_status check_values(const krn_layout *layout, const float *scales, const int32_t *zero_points) {
    const int64_t count = layout->n * layout->num_groups;
    for (int64_t i = 0; i < count; i++)
        if (!isfinite(scales[i]))
            return krn_fail(KRN_ERROR_NON_FINITE, "scales[%lld] is not finite", (long long)i);
    if (zero_points != NULL)
        for (int64_t i = 0; i < count; i++)
            if (zero_points[i] < 0 || zero_points[i] > 15)
                return krn_fail(KRN_ERROR_INVALID_ARGUMENT, "zero_points[%lld] is %d, not in 0..15", (long long)i,
                                zero_points[i]);
    return KRN_OK;
}

krn_status krn_weights_packed_bytes(const krn_context *context, const krn_weights_desc *desc, int64_t *bytes) {
    if (context == NULL)
        return krn_fail(KRN_ERROR_NULL_ARGUMENT, "context is NULL");
    if (bytes == NULL)
        return krn_fail(KRN_ERROR_NULL_ARGUMENT, "bytes is NULL");
    krn_layout layout;
    const krn_status status = krn_layout_of(desc, &layout);
    if (status == KRN_OK)
        *bytes = layout.packed_bytes;
    return status;
}

krn_status krn_weights_pack(krn_context *context, const krn_weights_desc *desc, const void *codes,
                            int64_t codes_ld_bytes, const float *scales, const int32_t *zero_points,
                            krn_weights **out) {
    if (context == NULL)
        return krn_fail(KRN_ERROR_NULL_ARGUMENT, "context is NULL");
    if (out == NULL)
        return krn_fail(KRN_ERROR_NULL_ARGUMENT, "weights is NULL");
    krn_layout layout;
    krn_status status = krn_layout_of(desc, &layout);
    if (status != KRN_OK)
        return status;
    const int is_empty = layout.n == 0 || layout.k == 0;
    if (codes == NULL && !is_empty)
        return krn_fail(KRN_ERROR_NULL_ARGUMENT, "codes is NULL");
    if (scales == NULL && !is_empty)
        return krn_fail(KRN_ERROR_NULL_ARGUMENT, "scales is NULL");
    if (desc->format == KRN_TYPE_U4 && zero_points == NULL && !is_empty)
        return krn_fail(KRN_ERROR_NULL_ARGUMENT, "zero_points is NULL, but KRN_TYPE_U4 needs them");
    if (desc->format != KRN_TYPE_U4 && zero_points != NULL)
        return krn_fail(KRN_ERROR_INVALID_ARGUMENT, "zero_points must be NULL for a signed format");
    const int64_t row_bytes = krn_type_row_bytes(desc->format, desc->k);
    if (codes_ld_bytes < row_bytes)
        return krn_fail(KRN_ERROR_LEADING_DIMENSION, "codes_ld_bytes is %lld, a row takes %lld",
                        (long long)codes_ld_bytes, (long long)row_bytes);
    status = check_values(&layout, scales, zero_points);
    if (status != KRN_OK)
        return status;
    krn_weights *weights = NULL;
    status = create(desc, &layout, &weights);
    if (status != KRN_OK)
        return status;
    krn_pack(context, &layout, codes, codes_ld_bytes, scales, zero_points, weights->packed);
    *out = weights;
    return KRN_OK;
}

krn_status krn_weights_pack_float(krn_context *context, const krn_weights_desc *desc, int32_t source_type,
                                  const void *source, int64_t source_ld, float clip_ratio, krn_weights **out,
                                  krn_quantize_error *error) {
    if (out == NULL)
        return krn_fail(KRN_ERROR_NULL_ARGUMENT, "weights is NULL");
    krn_layout layout;
    krn_status status = krn_layout_of(desc, &layout);
    if (status != KRN_OK)
        return status;
    const int asymmetric = desc->format == KRN_TYPE_U4;
    const krn_quantize_options options = {.struct_size = sizeof options,
                                          .type = desc->format,
                                          .granularity =
                                              desc->group_size == 0 ? KRN_GRANULARITY_CHANNEL : KRN_GRANULARITY_GROUP,
                                          .asymmetric = asymmetric,
                                          .group_size = desc->group_size,
                                          .clip_ratio = clip_ratio};
    int64_t num_scales = 0;
    status = krn_quantize_scale_count(&options, desc->n, desc->k, &num_scales);
    if (status != KRN_OK)
        return status;
    const int64_t row_bytes = krn_type_row_bytes(desc->format, desc->k);
    void *codes = NULL, *scales = NULL, *zero_points = NULL;
    /* Never 0 bytes: an empty tensor still takes valid pointers. */
    status = krn_memory_allocate(desc->n * row_bytes + 1, &codes);
    if (status == KRN_OK)
        status = krn_memory_allocate(num_scales * (int64_t)sizeof(float) + 1, &scales);
    if (status == KRN_OK && asymmetric)
        status = krn_memory_allocate(num_scales * (int64_t)sizeof(int32_t) + 1, &zero_points);
    if (status == KRN_OK)
        status = krn_quantize(context, &options, desc->n, desc->k, source_type, source, source_ld, codes, row_bytes,
                              scales, zero_points, error);
    if (status == KRN_OK)
        status = krn_weights_pack(context, desc, codes, row_bytes, scales, zero_points, out);
    krn_memory_free(codes);
    krn_memory_free(scales);
    krn_memory_free(zero_points);
    return status;
}

krn_status krn_weights_unpack(krn_context *context, const krn_weights *weights, void *codes, int64_t codes_ld_bytes,
                              float *scales, int32_t *zero_points) {
    if (context == NULL)
        return krn_fail(KRN_ERROR_NULL_ARGUMENT, "context is NULL");
    if (weights == NULL)
        return krn_fail(KRN_ERROR_NULL_ARGUMENT, "weights is NULL");
    const krn_layout *layout = &weights->layout;
    const int is_empty = layout->n == 0 || layout->k == 0;
    if (codes == NULL && !is_empty)
        return krn_fail(KRN_ERROR_NULL_ARGUMENT, "codes is NULL");
    if (scales == NULL && !is_empty)
        return krn_fail(KRN_ERROR_NULL_ARGUMENT, "scales is NULL");
    const int64_t row_bytes = krn_type_row_bytes(layout->format, layout->k);
    if (codes_ld_bytes < row_bytes)
        return krn_fail(KRN_ERROR_LEADING_DIMENSION, "codes_ld_bytes is %lld, a row takes %lld",
                        (long long)codes_ld_bytes, (long long)row_bytes);
    krn_unpack(context, layout, weights->packed, codes, codes_ld_bytes, scales, zero_points);
    return KRN_OK;
}

krn_status krn_weights_describe(const krn_weights *weights, krn_weights_desc *desc) {
    if (weights == NULL)
        return krn_fail(KRN_ERROR_NULL_ARGUMENT, "weights is NULL");
    if (desc == NULL)
        return krn_fail(KRN_ERROR_NULL_ARGUMENT, "desc is NULL");
    if (desc->struct_size != sizeof *desc)
        return krn_fail(KRN_ERROR_STRUCT_SIZE, "desc->struct_size is %u, this library knows %u", desc->struct_size,
                        (unsigned)sizeof *desc);
    *desc = weights->desc;
    return KRN_OK;
}

int64_t krn_weights_bytes(const krn_weights *weights) { return weights == NULL ? 0 : weights->layout.packed_bytes; }

int64_t krn_weights_blob_bytes(const krn_weights *weights) {
    return weights == NULL ? 0 : (int64_t)sizeof(krn_blob_header) + weights->layout.packed_bytes;
}

krn_status krn_weights_save(const krn_weights *weights, void *blob, int64_t blob_bytes) {
    if (weights == NULL)
        return krn_fail(KRN_ERROR_NULL_ARGUMENT, "weights is NULL");
    if (blob == NULL)
        return krn_fail(KRN_ERROR_NULL_ARGUMENT, "blob is NULL");
    const int64_t needed = krn_weights_blob_bytes(weights);
    if (blob_bytes < needed)
        return krn_fail(KRN_ERROR_BUFFER_TOO_SMALL, "blob_bytes is %lld, %lld are needed", (long long)blob_bytes,
                        (long long)needed);
    krn_blob_write(weights, blob);
    return KRN_OK;
}

krn_status krn_weights_load(krn_context *context, const void *blob, int64_t blob_bytes, krn_weights **out) {
    if (context == NULL)
        return krn_fail(KRN_ERROR_NULL_ARGUMENT, "context is NULL");
    if (blob == NULL)
        return krn_fail(KRN_ERROR_NULL_ARGUMENT, "blob is NULL");
    if (out == NULL)
        return krn_fail(KRN_ERROR_NULL_ARGUMENT, "weights is NULL");
    krn_weights_desc desc;
    krn_layout layout;
    krn_status status = krn_blob_check(blob, blob_bytes, &desc, &layout);
    if (status != KRN_OK)
        return status;
    krn_weights *weights = NULL;
    status = create(&desc, &layout, &weights);
    if (status != KRN_OK)
        return status;
    if (layout.packed_bytes > 0)
        memcpy(weights->packed, (const uint8_t *)blob + sizeof(krn_blob_header), (size_t)layout.packed_bytes);
    *out = weights;
    return KRN_OK;
}

void krn_weights_destroy(krn_weights *weights) {
    if (weights == NULL)
        return;
    krn_memory_free(weights->packed);
    free(weights);
}
