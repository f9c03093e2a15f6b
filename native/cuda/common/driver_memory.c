/* Memory and streams of the CUDA driver. */
#include "cuda/common/driver_state.h"

static uint64_t address_of(const void *memory) { return (uint64_t)(uintptr_t)memory; }

krn_status krn_cuda_driver_allocate(void *opaque, int64_t bytes, void **memory) {
    krn_cuda_driver_state *state = opaque;
    uint64_t address = 0;
    int32_t pushed;
    krn_status status = krn_cuda_driver_enter(state, &pushed);
    if (status != KRN_OK)
        return status;
    status = krn_cuda_driver_check(&state->api, state->api.memory_allocate(&address, (size_t)bytes), "cuMemAlloc");
    krn_cuda_driver_leave(state, pushed);
    if (status == KRN_OK)
        *memory = (void *)(uintptr_t)address;
    return status;
}

krn_status krn_cuda_driver_release(void *opaque, void *memory) {
    krn_cuda_driver_state *state = opaque;
    int32_t pushed;
    krn_status status = krn_cuda_driver_enter(state, &pushed);
    if (status != KRN_OK)
        return status;
    status = krn_cuda_driver_check(&state->api, state->api.memory_free(address_of(memory)), "cuMemFree");
    krn_cuda_driver_leave(state, pushed);
    return status;
}

krn_status krn_cuda_driver_copy_to_device(void *opaque, void *to, const void *from, int64_t bytes, void *stream) {
    krn_cuda_driver_state *state = opaque;
    int32_t pushed;
    krn_status status = krn_cuda_driver_enter(state, &pushed);
    if (status != KRN_OK)
        return status;
    status = krn_cuda_driver_check(&state->api, state->api.copy_to_device(address_of(to), from, (size_t)bytes, stream),
                                   "cuMemcpyHtoDAsync");
    krn_cuda_driver_leave(state, pushed);
    return status;
}

krn_status krn_cuda_driver_copy_to_host(void *opaque, void *to, const void *from, int64_t bytes, void *stream) {
    krn_cuda_driver_state *state = opaque;
    int32_t pushed;
    krn_status status = krn_cuda_driver_enter(state, &pushed);
    if (status != KRN_OK)
        return status;
    status = krn_cuda_driver_check(&state->api, state->api.copy_to_host(to, address_of(from), (size_t)bytes, stream),
                                   "cuMemcpyDtoHAsync");
    krn_cuda_driver_leave(state, pushed);
    return status;
}

krn_status krn_cuda_driver_copy_on_device(void *opaque, void *to, const void *from, int64_t bytes, void *stream) {
    krn_cuda_driver_state *state = opaque;
    int32_t pushed;
    krn_status status = krn_cuda_driver_enter(state, &pushed);
    if (status != KRN_OK)
        return status;
    status = krn_cuda_driver_check(&state->api,
                                   state->api.copy_on_device(address_of(to), address_of(from), (size_t)bytes, stream),
                                   "cuMemcpyDtoDAsync");
    krn_cuda_driver_leave(state, pushed);
    return status;
}

krn_status krn_cuda_driver_set(void *opaque, void *memory, uint8_t value, int64_t bytes, void *stream) {
    krn_cuda_driver_state *state = opaque;
    int32_t pushed;
    krn_status status = krn_cuda_driver_enter(state, &pushed);
    if (status != KRN_OK)
        return status;
    status = krn_cuda_driver_check(&state->api, state->api.memory_set(address_of(memory), value, (size_t)bytes, stream),
                                   "cuMemsetD8Async");
    krn_cuda_driver_leave(state, pushed);
    return status;
}

krn_status krn_cuda_driver_stream_create(void *opaque, void **stream) {
    krn_cuda_driver_state *state = opaque;
    int32_t pushed;
    krn_status status = krn_cuda_driver_enter(state, &pushed);
    if (status != KRN_OK)
        return status;
    status = krn_cuda_driver_check(&state->api, state->api.stream_create(stream, KRN_CU_STREAM_NON_BLOCKING),
                                   "cuStreamCreate");
    krn_cuda_driver_leave(state, pushed);
    return status;
}

krn_status krn_cuda_driver_stream_destroy(void *opaque, void *stream) {
    krn_cuda_driver_state *state = opaque;
    int32_t pushed;
    krn_status status = krn_cuda_driver_enter(state, &pushed);
    if (status != KRN_OK)
        return status;
    status = krn_cuda_driver_check(&state->api, state->api.stream_destroy(stream), "cuStreamDestroy");
    krn_cuda_driver_leave(state, pushed);
    return status;
}

krn_status krn_cuda_driver_stream_synchronize(void *opaque, void *stream) {
    krn_cuda_driver_state *state = opaque;
    int32_t pushed;
    krn_status status = krn_cuda_driver_enter(state, &pushed);
    if (status != KRN_OK)
        return status;
    status = krn_cuda_driver_check(&state->api, state->api.stream_synchronize(stream), "cuStreamSynchronize");
    krn_cuda_driver_leave(state, pushed);
    return status;
}
