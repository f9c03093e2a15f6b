#include "cuda/gemm/weights.h"

#include "common/status.h"
#include "cuda/common/context.h"

#include <stdlib.h>

static krn_status place(const krn_weights *weights, krn_cuda_weights_layout *layout) {
    krn_weights_desc desc = {.struct_size = sizeof desc};
    int64_t count = 0;
    krn_status status = krn_weights_describe(weights, &desc);
    if (status == KRN_OK)
        status = krn_weights_scale_count(&desc, &count);
    if (status == KRN_OK)
        krn_cuda_weights_place(&desc, count, layout);
    return status;
}

krn_status krn_cuda_weights_bytes(const krn_weights *weights, int64_t *bytes) {
    if (weights == NULL)
        return krn_fail(KRN_ERROR_NULL_ARGUMENT, "weights is NULL");
    if (bytes == NULL)
        return krn_fail(KRN_ERROR_NULL_ARGUMENT, "bytes is NULL");
    krn_cuda_weights_layout layout;
    const krn_status status = place(weights, &layout);
    if (status == KRN_OK)
        *bytes = layout.bytes;
    return status;
}

static krn_status check_memory(const krn_cuda_weights_layout *layout, const void *memory, int64_t bytes) {
    if (memory == NULL)
        return KRN_OK;
    if (bytes < layout->bytes)
        return krn_fail(KRN_ERROR_BUFFER_TOO_SMALL, "device_bytes is %lld, %lld are needed", (long long)bytes,
                        (long long)layout->bytes);
    if ((uintptr_t)memory % KRN_CUDA_SECTION_ALIGNMENT != 0)
        return krn_fail(KRN_ERROR_ALIGNMENT, "device_memory is not aligned to %d bytes", KRN_CUDA_SECTION_ALIGNMENT);
    return KRN_OK;
}

/* Writes the image on the host and copies it. The copy is complete, or has been taken over, when it returns. */
static krn_status bring(const krn_cuda_weights *w, krn_context *host, const krn_weights *weights, void *stream) {
    if (w->layout.bytes == 0)
        return KRN_OK;
    uint8_t *image = malloc((size_t)w->layout.bytes);
    if (image == NULL)
        return krn_fail(KRN_ERROR_OUT_OF_MEMORY, "no memory for %lld bytes of weights", (long long)w->layout.bytes);
    krn_status status = krn_cuda_weights_write(&w->layout, host, weights, image);
    if (status == KRN_OK)
        status = krn_cuda_memory_copy_to_device(w->context, w->memory, image, w->layout.bytes, stream);
    free(image);
    return status;
}

krn_status krn_cuda_weights_create(krn_cuda_context *context, krn_context *host, const krn_weights *weights,
                                   void *device_memory, int64_t device_bytes, void *stream,
                                   krn_cuda_weights **device_weights) {
    if (context == NULL)
        return krn_fail(KRN_ERROR_NULL_ARGUMENT, "context is NULL");
    if (host == NULL)
        return krn_fail(KRN_ERROR_NULL_ARGUMENT, "host is NULL");
    if (weights == NULL)
        return krn_fail(KRN_ERROR_NULL_ARGUMENT, "weights is NULL");
    if (device_weights == NULL)
        return krn_fail(KRN_ERROR_NULL_ARGUMENT, "device_weights is NULL");
    krn_cuda_weights_layout layout;
    krn_status status = place(weights, &layout);
    if (status == KRN_OK)
        status = check_memory(&layout, device_memory, device_bytes);
    if (status != KRN_OK)
        return status;
    krn_cuda_weights *w = malloc(sizeof *w);
    if (w == NULL)
        return krn_fail(KRN_ERROR_OUT_OF_MEMORY, "no memory for a krn_cuda_weights");
    *w = (krn_cuda_weights){.layout = layout, .context = context, .memory = device_memory};
    if (device_memory == NULL) {
        void *memory = NULL;
        status = krn_cuda_memory_allocate(context, layout.bytes, &memory);
        w->memory = memory;
        w->owns_memory = 1;
    }
    if (status == KRN_OK)
        status = bring(w, host, weights, stream);
    if (status != KRN_OK) {
        krn_cuda_weights_destroy(w);
        return status;
    }
    *device_weights = w;
    return KRN_OK;
}

krn_status krn_cuda_weights_describe(const krn_cuda_weights *weights, krn_weights_desc *desc) {
    if (weights == NULL)
        return krn_fail(KRN_ERROR_NULL_ARGUMENT, "weights is NULL");
    if (desc == NULL)
        return krn_fail(KRN_ERROR_NULL_ARGUMENT, "desc is NULL");
    if (desc->struct_size != sizeof *desc)
        return krn_fail(KRN_ERROR_STRUCT_SIZE, "desc->struct_size is %u, this library knows %u", desc->struct_size,
                        (unsigned)sizeof *desc);
    *desc = weights->layout.desc;
    return KRN_OK;
}

int64_t krn_cuda_weights_device_bytes(const krn_cuda_weights *weights) {
    return weights == NULL ? 0 : weights->layout.bytes;
}

void krn_cuda_weights_destroy(krn_cuda_weights *weights) {
    if (weights == NULL)
        return;
    if (weights->owns_memory)
        krn_cuda_memory_free(weights->context, weights->memory);
    free(weights);
}
