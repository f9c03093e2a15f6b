#include "cuda/common/driver.h"

#include "common/status.h"
#include "cuda/common/driver_state.h"

#include <stdlib.h>
#include <string.h>

/* The oldest driver interface that has everything: tensor maps came with 12.0. */
enum { OLDEST_DRIVER = 12000 };

krn_status krn_cuda_driver_check(const krn_cu_api *api, int32_t result, const char *function) {
    const char *name = NULL;
    const char *text = NULL;
    if (result == KRN_CU_SUCCESS)
        return KRN_OK;
    if (api->get_error_name(result, &name) != KRN_CU_SUCCESS || name == NULL)
        name = "an error without a name";
    if (api->get_error_string(result, &text) != KRN_CU_SUCCESS || text == NULL)
        text = "no description";
    krn_status status = KRN_ERROR_DEVICE;
    if (result == KRN_CU_ERROR_OUT_OF_MEMORY)
        status = KRN_ERROR_OUT_OF_MEMORY;
    else if (result == KRN_CU_ERROR_NO_DEVICE)
        status = KRN_ERROR_NO_DEVICE;
    else if (result == KRN_CU_ERROR_SYSTEM_DRIVER_MISMATCH || result == KRN_CU_ERROR_COMPAT_NOT_SUPPORTED)
        status = KRN_ERROR_DRIVER_UNAVAILABLE;
    return krn_fail(status, "%s of the CUDA driver gave %s (%d): %s", function, name, result, text);
}

/* --- Devices ------------------------------------------------------------------------------------------------------ */

/* Loads and starts the driver. A machine with a driver and no device has none, which is no error. */
static krn_status start(krn_cu_api *api, int32_t *version, int32_t *device_count) {
    *device_count = 0;
    krn_status status = krn_cu_load(api);
    if (status != KRN_OK)
        return status;
    status = krn_cuda_driver_check(api, api->driver_get_version(version), "cuDriverGetVersion");
    if (status != KRN_OK)
        return status;
    if (*version < OLDEST_DRIVER)
        return krn_fail(KRN_ERROR_DRIVER_UNAVAILABLE,
                        "the CUDA driver is too old: it is for CUDA %d.%d, at least 12.0 is needed", *version / 1000,
                        *version % 1000 / 10);
    const int32_t result = api->init(0);
    if (result == KRN_CU_ERROR_NO_DEVICE)
        return KRN_OK;
    status = krn_cuda_driver_check(api, result, "cuInit");
    return status != KRN_OK ? status
                            : krn_cuda_driver_check(api, api->device_get_count(device_count), "cuDeviceGetCount");
}

static krn_status driver_device_count(int32_t *count) {
    krn_cu_api api;
    int32_t version;
    return start(&api, &version, count);
}

krn_status krn_cuda_driver_enter(const krn_cuda_driver_state *state, int32_t *pushed) {
    void *current = NULL;
    *pushed = 0;
    krn_status status = krn_cuda_driver_check(&state->api, state->api.context_get_current(&current), "cuCtxGetCurrent");
    if (status != KRN_OK || current == state->context)
        return status;
    status = krn_cuda_driver_check(&state->api, state->api.context_push_current(state->context), "cuCtxPushCurrent");
    *pushed = status == KRN_OK;
    return status;
}

void krn_cuda_driver_leave(const krn_cuda_driver_state *state, int32_t pushed) {
    void *popped;
    if (pushed)
        (void)state->api.context_pop_current(&popped);
}

/* --- Kernels ------------------------------------------------------------------------------------------------------ */

static int compare_kernels(const void *a, const void *b) {
    return strcmp(((const krn_cuda_driver_kernel *)a)->name, ((const krn_cuda_driver_kernel *)b)->name);
}

/* Lets a kernel have all the dynamic shared memory that the device can give a block: 48 KiB is only the default. */
static krn_status allow_shared_memory(krn_cuda_driver_state *state, void *function, int32_t most_bytes) {
    int32_t static_bytes = 0;
    const krn_status status = krn_cuda_driver_check(
        &state->api, state->api.function_get_attribute(&static_bytes, KRN_CU_FUNC_SHARED_SIZE_BYTES, function),
        "cuFuncGetAttribute");
    if (status != KRN_OK)
        return status;
    return krn_cuda_driver_check(&state->api,
                                 state->api.function_set_attribute(function, KRN_CU_FUNC_MAX_DYNAMIC_SHARED_SIZE_BYTES,
                                                                   most_bytes - static_bytes),
                                 "cuFuncSetAttribute");
}

/* Loads one image. One without machine code for the device leaves its kernels without a function. */
static krn_status load_image(krn_cuda_driver_state *state, const krn_cuda_image *image, int32_t most_shared_bytes) {
    void *module = NULL;
    const int32_t result = state->api.module_load_data(&module, image->data);
    if (result != KRN_CU_ERROR_NO_BINARY_FOR_GPU) {
        const krn_status status = krn_cuda_driver_check(&state->api, result, "cuModuleLoadData");
        if (status != KRN_OK)
            return status;
        state->modules[state->module_count++] = module;
    }
    for (int32_t i = 0; i < image->kernel_count; i++) {
        krn_cuda_driver_kernel *kernel = &state->kernels[state->kernel_count++];
        kernel->name = image->kernels[i];
        if (module == NULL)
            continue;
        krn_status status =
            krn_cuda_driver_check(&state->api, state->api.module_get_function(&kernel->function, module, kernel->name),
                                  "cuModuleGetFunction");
        if (status == KRN_OK)
            status = allow_shared_memory(state, kernel->function, most_shared_bytes);
        if (status != KRN_OK)
            return status;
    }
    return KRN_OK;
}

/* All kernels are loaded before the first launch, because a launch may not: it could be part of a graph's capture. */
static krn_status load_images(krn_cuda_driver_state *state, const krn_cuda_image *const *images, int32_t count) {
    int32_t kernels = 0;
    int32_t most_shared_bytes = 0;
    for (int32_t i = 0; i < count; i++)
        kernels += images[i]->kernel_count;
    state->modules = calloc((size_t)count + 1, sizeof *state->modules);
    state->kernels = calloc((size_t)kernels + 1, sizeof *state->kernels);
    if (state->modules == NULL || state->kernels == NULL)
        return krn_fail(KRN_ERROR_OUT_OF_MEMORY, "could not allocate the table of %d kernels", kernels);
    krn_status status = krn_cuda_driver_check(
        &state->api,
        state->api.device_get_attribute(&most_shared_bytes, KRN_CU_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN, state->device),
        "cuDeviceGetAttribute");
    for (int32_t i = 0; i < count && status == KRN_OK; i++)
        status = load_image(state, images[i], most_shared_bytes);
    qsort(state->kernels, (size_t)state->kernel_count, sizeof *state->kernels, compare_kernels);
    return status;
}

static const krn_cuda_driver_kernel *find_kernel(const krn_cuda_driver_state *state, const char *name) {
    const krn_cuda_driver_kernel key = {name, NULL};
    return bsearch(&key, state->kernels, (size_t)state->kernel_count, sizeof key, compare_kernels);
}

/* --- Opening ------------------------------------------------------------------------------------------------------ */

static void driver_close(void *opaque) {
    krn_cuda_driver_state *state = opaque;
    int32_t pushed;
    if (state == NULL)
        return;
    if (state->context != NULL && krn_cuda_driver_enter(state, &pushed) == KRN_OK) {
        for (int32_t i = 0; i < state->module_count; i++)
            (void)state->api.module_unload(state->modules[i]);
        krn_cuda_driver_leave(state, pushed);
    }
    if (state->context != NULL)
        (void)state->api.primary_context_release(state->device);
    free(state->kernels);
    free(state->modules);
    free(state);
}

static krn_status open_device(krn_cuda_driver_state *state, int32_t ordinal, const krn_cuda_image *const *images,
                              int32_t count) {
    int32_t devices;
    int32_t pushed;
    krn_status status = start(&state->api, &state->driver_version, &devices);
    if (status != KRN_OK)
        return status;
    if (ordinal < 0 || ordinal >= devices)
        return krn_fail(KRN_ERROR_NO_DEVICE, "options->device is %d, but the CUDA driver has %d devices", ordinal,
                        devices);
    const krn_cu_api *const api = &state->api;
    status = krn_cuda_driver_check(api, api->device_get(&state->device, ordinal), "cuDeviceGet");
    if (status == KRN_OK)
        status = krn_cuda_driver_check(api, api->device_get_name(state->name, KRN_CUDA_NAME_BYTES, state->device),
                                       "cuDeviceGetName");
    void *context = NULL;
    if (status == KRN_OK)
        status = krn_cuda_driver_check(api, api->primary_context_retain(&context, state->device),
                                       "cuDevicePrimaryCtxRetain");
    if (status == KRN_OK)
        state->context = context; /* from here on it is to be released */
    if (status == KRN_OK)
        status = krn_cuda_driver_enter(state, &pushed);
    if (status != KRN_OK)
        return status;
    status = load_images(state, images, count);
    krn_cuda_driver_leave(state, pushed);
    return status;
}

krn_status krn_cuda_driver_open(int32_t device, const krn_cuda_image *const *images, int32_t image_count, void **out) {
    krn_cuda_driver_state *state = calloc(1, sizeof *state);
    if (state == NULL)
        return krn_fail(KRN_ERROR_OUT_OF_MEMORY, "could not allocate the state of a device");
    const krn_status status = open_device(state, device, images, image_count);
    if (status != KRN_OK) {
        driver_close(state);
        return status;
    }
    *out = state;
    return KRN_OK;
}

static krn_status driver_open(int32_t device, void **state) {
    return krn_cuda_driver_open(device, krn_cuda_images, krn_cuda_image_count, state);
}

static krn_status driver_properties(void *opaque, krn_cuda_properties *properties) {
    krn_cuda_driver_state *state = opaque;
    const struct {
        int32_t attribute;
        int32_t *value;
    } wanted[] = {
        {KRN_CU_COMPUTE_CAPABILITY_MAJOR, &properties->compute_major},
        {KRN_CU_COMPUTE_CAPABILITY_MINOR, &properties->compute_minor},
        {KRN_CU_MULTIPROCESSOR_COUNT, &properties->multiprocessors},
        {KRN_CU_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN, &properties->shared_bytes_per_block},
        {KRN_CU_MAX_SHARED_MEMORY_PER_MULTIPROCESSOR, &properties->shared_bytes_per_multiprocessor},
        {KRN_CU_MAX_THREADS_PER_MULTIPROCESSOR, &properties->threads_per_multiprocessor},
        {KRN_CU_MAX_REGISTERS_PER_MULTIPROCESSOR, &properties->registers_per_multiprocessor},
        {KRN_CU_CLOCK_RATE, &properties->clock_khz},
        {KRN_CU_MEMORY_CLOCK_RATE, &properties->memory_clock_khz},
        {KRN_CU_GLOBAL_MEMORY_BUS_WIDTH, &properties->memory_bus_bits},
    };
    krn_status status;
    for (size_t i = 0; i < sizeof wanted / sizeof wanted[0]; i++) {
        status = krn_cuda_driver_check(
            &state->api, state->api.device_get_attribute(wanted[i].value, wanted[i].attribute, state->device),
            "cuDeviceGetAttribute");
        if (status != KRN_OK)
            return status;
    }
    int32_t l2_bytes = 0;
    size_t memory_bytes = 0;
    status = krn_cuda_driver_check(&state->api,
                                   state->api.device_get_attribute(&l2_bytes, KRN_CU_L2_CACHE_SIZE, state->device),
                                   "cuDeviceGetAttribute");
    if (status == KRN_OK)
        status = krn_cuda_driver_check(&state->api, state->api.device_total_memory(&memory_bytes, state->device),
                                       "cuDeviceTotalMem");
    properties->l2_bytes = l2_bytes;
    properties->memory_bytes = (int64_t)memory_bytes;
    properties->driver_version = state->driver_version;
    properties->name = state->name;
    return status;
}

/* --- Launches ----------------------------------------------------------------------------------------------------- */

static krn_status driver_launch(void *opaque, const krn_cuda_launch *launch, void *stream) {
    krn_cuda_driver_state *state = opaque;
    const krn_cuda_driver_kernel *kernel = find_kernel(state, launch->kernel);
    if (kernel == NULL)
        return krn_fail(KRN_ERROR_UNSUPPORTED, "this library holds no kernel %s: it was built without nvcc",
                        launch->kernel);
    if (kernel->function == NULL)
        return krn_fail(KRN_ERROR_UNSUPPORTED, "the kernel %s has no machine code for %s", launch->kernel, state->name);

    krn_cu_launch_attribute cluster = {.id = KRN_CU_LAUNCH_CLUSTER_DIMENSION};
    krn_cu_launch_config config = {.shared_bytes = launch->shared_bytes, .stream = stream};
    memcpy(config.grid, launch->grid, sizeof config.grid);
    memcpy(config.block, launch->block, sizeof config.block);
    if (launch->cluster[0] != 0) {
        memcpy(cluster.cluster, launch->cluster, sizeof cluster.cluster);
        config.attributes = &cluster;
        config.attribute_count = 1;
    }
    /* The driver copies the parameter and does not write it. */
    void *params[1];
    memcpy(params, &launch->params, sizeof params[0]);
    int32_t pushed;
    krn_status status = krn_cuda_driver_enter(state, &pushed);
    if (status != KRN_OK)
        return status;
    status = krn_cuda_driver_check(&state->api, state->api.launch_kernel(&config, kernel->function, params, NULL),
                                   "cuLaunchKernelEx");
    krn_cuda_driver_leave(state, pushed);
    return status;
}

static int32_t swizzle_of(int32_t swizzle) {
    switch (swizzle) {
    case KRN_CUDA_SWIZZLE_32: return KRN_CU_TENSOR_SWIZZLE_32;
    case KRN_CUDA_SWIZZLE_64: return KRN_CU_TENSOR_SWIZZLE_64;
    case KRN_CUDA_SWIZZLE_128: return KRN_CU_TENSOR_SWIZZLE_128;
    default: return KRN_CU_TENSOR_SWIZZLE_NONE;
    }
}

static int32_t type_of(int32_t element_bytes) {
    switch (element_bytes) {
    case 1: return KRN_CU_TENSOR_UINT8;
    case 2: return KRN_CU_TENSOR_UINT16;
    case 4: return KRN_CU_TENSOR_UINT32;
    default: return KRN_CU_TENSOR_UINT64;
    }
}

static krn_status driver_tensor_map(void *opaque, void *map, const krn_cuda_tensor_map_desc *desc) {
    krn_cuda_driver_state *state = opaque;
    const uint32_t element_strides[KRN_CUDA_TENSOR_MAX_RANK] = {1, 1, 1, 1, 1};
    return krn_cuda_driver_check(
        &state->api,
        state->api.tensor_map_encode_tiled(map, type_of(desc->element_bytes), (uint32_t)desc->rank, desc->address,
                                           desc->sizes, desc->strides_bytes + 1, desc->box, element_strides,
                                           KRN_CU_TENSOR_INTERLEAVE_NONE, swizzle_of(desc->swizzle),
                                           KRN_CU_TENSOR_L2_PROMOTION_256, KRN_CU_TENSOR_OOB_FILL_ZERO),
        "cuTensorMapEncodeTiled");
}

const krn_cuda_backend *krn_cuda_driver(void) {
    static const krn_cuda_backend backend = {
        .struct_size = sizeof backend,
        .name = "driver",
        .device_count = driver_device_count,
        .open = driver_open,
        .close = driver_close,
        .properties = driver_properties,
        .allocate = krn_cuda_driver_allocate,
        .release = krn_cuda_driver_release,
        .copy_to_device = krn_cuda_driver_copy_to_device,
        .copy_to_host = krn_cuda_driver_copy_to_host,
        .copy_on_device = krn_cuda_driver_copy_on_device,
        .set = krn_cuda_driver_set,
        .stream_create = krn_cuda_driver_stream_create,
        .stream_destroy = krn_cuda_driver_stream_destroy,
        .stream_synchronize = krn_cuda_driver_stream_synchronize,
        .launch = driver_launch,
        .tensor_map = driver_tensor_map,
    };
    return &backend;
}
