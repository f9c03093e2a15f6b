/* Device memory and streams: checks, then the backend. */
#include "common/status.h"
#include "cuda/common/context.h"

#include <stddef.h>

static krn_status check_context(const krn_cuda_context *context) {
    return context != NULL ? KRN_OK : krn_fail(KRN_ERROR_NULL_ARGUMENT, "context is NULL");
}

/* A buffer of `bytes` bytes. Without bytes it may be anything. */
static krn_status check_bytes(const char *name, const void *buffer, int64_t bytes) {
    if (bytes < 0)
        return krn_fail(KRN_ERROR_INVALID_ARGUMENT, "bytes is %lld, must not be negative", (long long)bytes);
    if (bytes > 0 && buffer == NULL)
        return krn_fail(KRN_ERROR_NULL_ARGUMENT, "%s is NULL", name);
    return KRN_OK;
}

static krn_status check_copy(const krn_cuda_context *context, const char *to_name, const void *to,
                             const char *from_name, const void *from, int64_t bytes) {
    krn_status status = check_context(context);
    if (status == KRN_OK)
        status = check_bytes(to_name, to, bytes);
    return status != KRN_OK ? status : check_bytes(from_name, from, bytes);
}

krn_status krn_cuda_memory_allocate(krn_cuda_context *context, int64_t bytes, void **device_memory) {
    krn_status status = check_context(context);
    if (status != KRN_OK)
        return status;
    if (device_memory == NULL)
        return krn_fail(KRN_ERROR_NULL_ARGUMENT, "device_memory is NULL");
    if (bytes < 0)
        return krn_fail(KRN_ERROR_INVALID_ARGUMENT, "bytes is %lld, must not be negative", (long long)bytes);
    if (bytes == 0) {
        *device_memory = NULL;
        return KRN_OK;
    }
    return context->backend->allocate(context->state, bytes, device_memory);
}

krn_status krn_cuda_memory_free(krn_cuda_context *context, void *device_memory) {
    const krn_status status = check_context(context);
    if (status != KRN_OK || device_memory == NULL)
        return status;
    return context->backend->release(context->state, device_memory);
}

krn_status krn_cuda_memory_copy_to_device(krn_cuda_context *context, void *device_to, const void *from, int64_t bytes,
                                          void *stream) {
    const krn_status status = check_copy(context, "device_to", device_to, "from", from, bytes);
    if (status != KRN_OK || bytes == 0)
        return status;
    return context->backend->copy_to_device(context->state, device_to, from, bytes, stream);
}

krn_status krn_cuda_memory_copy_to_host(krn_cuda_context *context, void *to, const void *device_from, int64_t bytes,
                                        void *stream) {
    const krn_status status = check_copy(context, "to", to, "device_from", device_from, bytes);
    if (status != KRN_OK || bytes == 0)
        return status;
    return context->backend->copy_to_host(context->state, to, device_from, bytes, stream);
}

krn_status krn_cuda_memory_copy_on_device(krn_cuda_context *context, void *device_to, const void *device_from,
                                          int64_t bytes, void *stream) {
    const krn_status status = check_copy(context, "device_to", device_to, "device_from", device_from, bytes);
    if (status != KRN_OK || bytes == 0)
        return status;
    return context->backend->copy_on_device(context->state, device_to, device_from, bytes, stream);
}

krn_status krn_cuda_memory_set(krn_cuda_context *context, void *device_memory, uint8_t value, int64_t bytes,
                               void *stream) {
    krn_status status = check_context(context);
    if (status == KRN_OK)
        status = check_bytes("device_memory", device_memory, bytes);
    if (status != KRN_OK || bytes == 0)
        return status;
    return context->backend->set(context->state, device_memory, value, bytes, stream);
}

krn_status krn_cuda_stream_create(krn_cuda_context *context, void **stream) {
    const krn_status status = check_context(context);
    if (status != KRN_OK)
        return status;
    if (stream == NULL)
        return krn_fail(KRN_ERROR_NULL_ARGUMENT, "stream is NULL");
    return context->backend->stream_create(context->state, stream);
}

krn_status krn_cuda_stream_destroy(krn_cuda_context *context, void *stream) {
    const krn_status status = check_context(context);
    if (status != KRN_OK || stream == NULL)
        return status;
    return context->backend->stream_destroy(context->state, stream);
}

krn_status krn_cuda_stream_synchronize(krn_cuda_context *context, void *stream) {
    const krn_status status = check_context(context);
    return status != KRN_OK ? status : context->backend->stream_synchronize(context->state, stream);
}
