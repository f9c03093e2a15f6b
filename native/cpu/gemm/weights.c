/* The door of weights.h: checks, ownership, serialization. */
#include "kernels/weights.h"

#include "common/context.h"
#include "common/status.h"
#include "gemm/blob.h"
#include "gemm/layout.h"
#include "gemm/outliers.h"
#include "gemm/pack.h"
#include "gemm/weights_source.h"

#include <stdlib.h>
#include <string.h>

static krn_status create(const krn_weights_desc *desc, const krn_layout *layout, krn_weights **out) {
    krn_weights *weights = calloc(1, sizeof *weights);
    if (weights == NULL)
        return krn_fail(KRN_ERROR_OUT_OF_MEMORY, "could not allocate a weights handle");
    weights->desc = *desc;
    weights->desc.scale_type = layout->scale_type;
    weights->desc.outlier_type = layout->outlier_type;
    weights->layout = *layout;
    void *packed = NULL;
    /* A line even where there is nothing to pack: offsets are then added to a pointer. */
    const krn_status status =
        krn_memory_allocate(layout->packed_bytes > 0 ? layout->packed_bytes : KRN_TABLE_ALIGNMENT, &packed);
    if (status != KRN_OK) {
        free(weights);
        return status;
    }
    weights->packed = packed;
    *out = weights;
    return KRN_OK;
}

krn_status krn_weights_scale_count(const krn_weights_desc *desc, int64_t *count) {
    if (count == NULL)
        return krn_fail(KRN_ERROR_NULL_ARGUMENT, "count is NULL");
    krn_layout layout;
    const krn_status status = krn_layout_of(desc, &layout);
    if (status == KRN_OK)
        *count = layout.num_scales;
    return status;
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

krn_status krn_weights_pack(krn_context *context, const krn_weights_desc *desc, const krn_weights_source *source,
                            krn_weights **out) {
    if (context == NULL)
        return krn_fail(KRN_ERROR_NULL_ARGUMENT, "context is NULL");
    if (out == NULL)
        return krn_fail(KRN_ERROR_NULL_ARGUMENT, "weights is NULL");
    krn_layout layout;
    krn_status status = krn_layout_of(desc, &layout);
    if (status == KRN_OK)
        status = krn_weights_check_source(&layout, source);
    krn_weights *weights = NULL;
    if (status == KRN_OK)
        status = create(desc, &layout, &weights);
    if (status != KRN_OK)
        return status;
    if (layout.ordered && layout.k > 0)
        status = krn_order_inputs(&layout, source->group_index, (int32_t *)(weights->packed + layout.permutation_at));
    if (status == KRN_OK)
        krn_pack(context, &layout, source, weights->packed);
    if (status == KRN_OK)
        status = krn_outliers_pack(context, weights, source);
    if (status == KRN_OK)
        *out = weights;
    else
        krn_weights_destroy(weights);
    return status;
}

krn_status krn_weights_unpack(krn_context *context, const krn_weights *weights, const krn_weights_parts *parts) {
    if (context == NULL)
        return krn_fail(KRN_ERROR_NULL_ARGUMENT, "context is NULL");
    if (weights == NULL)
        return krn_fail(KRN_ERROR_NULL_ARGUMENT, "weights is NULL");
    if (parts == NULL)
        return krn_fail(KRN_ERROR_NULL_ARGUMENT, "parts is NULL");
    if (parts->struct_size != sizeof *parts)
        return krn_fail(KRN_ERROR_STRUCT_SIZE, "parts->struct_size is %u, this library knows %u", parts->struct_size,
                        (unsigned)sizeof *parts);
    if (parts->high_nibble_first != 0 && parts->high_nibble_first != 1)
        return krn_fail(KRN_ERROR_INVALID_ARGUMENT, "parts->high_nibble_first is %d, neither 0 nor 1",
                        parts->high_nibble_first);
    const krn_layout *layout = &weights->layout;
    const int64_t row_bytes = krn_type_row_bytes(layout->format, layout->k);
    if (parts->codes != NULL && parts->codes_ld_bytes < row_bytes)
        return krn_fail(KRN_ERROR_LEADING_DIMENSION, "parts->codes_ld_bytes is %lld, a row takes %lld",
                        (long long)parts->codes_ld_bytes, (long long)row_bytes);
    krn_unpack(context, layout, weights->packed, parts);
    krn_outliers_unpack(layout, weights->packed, parts);
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
    status = krn_blob_check_content(&layout, weights->packed);
    if (status != KRN_OK) {
        krn_weights_destroy(weights);
        return status;
    }
    *out = weights;
    return KRN_OK;
}

void krn_weights_destroy(krn_weights *weights) {
    if (weights == NULL)
        return;
    krn_memory_free(weights->packed);
    free(weights);
}
