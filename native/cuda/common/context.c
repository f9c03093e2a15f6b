#include "cuda/common/context.h"

#include "common/status.h"
#include "cuda/common/driver.h"

#include <stdlib.h>
#include <string.h>

uint32_t krn_cuda_abi_version(void) { return KRN_ABI_VERSION; }

const char *krn_cuda_build_info(void) { return krn_cuda_toolkit; }

int32_t krn_cuda_kernel_count(void) {
    int32_t count = 0;
    for (int32_t i = 0; i < krn_cuda_image_count; i++)
        count += krn_cuda_images[i]->kernel_count;
    return count;
}

const char *krn_cuda_class_name(int32_t architecture) {
    switch ((enum krn_cuda_class)architecture) {
    case KRN_CUDA_CLASS_AUTO: return "auto";
    case KRN_CUDA_CLASS_SM80: return "sm80";
    case KRN_CUDA_CLASS_SM90A: return "sm90a";
    }
    return NULL;
}

static krn_status check_backend(const krn_cuda_backend *backend) {
    if (backend->struct_size != sizeof(krn_cuda_backend))
        return krn_fail(KRN_ERROR_STRUCT_SIZE,
                        "options->backend has %u bytes, this library knows %u: kernels_cuda and kernels_cuda_emulator "
                        "are not of one build",
                        backend->struct_size, (unsigned)sizeof(krn_cuda_backend));
    return KRN_OK;
}

krn_status krn_cuda_device_count(const krn_cuda_backend *backend, int32_t *count) {
    int32_t found = 0;
    if (count == NULL)
        return krn_fail(KRN_ERROR_NULL_ARGUMENT, "count is NULL");
    if (backend == NULL)
        backend = krn_cuda_driver();
    krn_status status = check_backend(backend);
    if (status == KRN_OK)
        status = backend->device_count(&found);
    if (status == KRN_OK)
        *count = found;
    return status;
}

/* The best class that a device of this compute capability has; AUTO for none. Machine code for 8.0 runs on 8.x, that for
 * 9.0a on 9.0 alone. */
static int32_t best_class(const krn_cuda_properties *properties) {
    if (properties->compute_major == 9 && properties->compute_minor == 0)
        return KRN_CUDA_CLASS_SM90A;
    return properties->compute_major == 8 ? KRN_CUDA_CLASS_SM80 : KRN_CUDA_CLASS_AUTO;
}

static krn_status choose_class(krn_cuda_context *context, int32_t wanted) {
    const krn_cuda_properties *const properties = &context->properties;
    const int32_t best = best_class(properties);
    if (best == KRN_CUDA_CLASS_AUTO)
        return krn_fail(KRN_ERROR_UNSUPPORTED,
                        "%s has compute capability %d.%d; there are kernels for 8.0 to 8.9 and 9.0", properties->name,
                        properties->compute_major, properties->compute_minor);
    if (wanted > best)
        return krn_fail(KRN_ERROR_ISA_UNAVAILABLE, "options->architecture is %s, but the best that %s has is %s",
                        krn_cuda_class_name(wanted), properties->name, krn_cuda_class_name(best));
    context->architecture = wanted == KRN_CUDA_CLASS_AUTO ? best : wanted;
    return KRN_OK;
}

static krn_status check_options(const krn_cuda_context_options *options) {
    if (options->struct_size != sizeof(krn_cuda_context_options))
        return krn_fail(KRN_ERROR_STRUCT_SIZE, "options->struct_size is %u, this library knows %u",
                        options->struct_size, (unsigned)sizeof(krn_cuda_context_options));
    if (options->device < 0)
        return krn_fail(KRN_ERROR_INVALID_ARGUMENT, "options->device is %d, must not be negative", options->device);
    if (krn_cuda_class_name(options->architecture) == NULL)
        return krn_fail(KRN_ERROR_INVALID_ARGUMENT, "options->architecture is %d, which is not a krn_cuda_class",
                        options->architecture);
    if (options->reserved != 0)
        return krn_fail(KRN_ERROR_INVALID_ARGUMENT, "options->reserved is %d, must be 0", options->reserved);
    return options->backend == NULL ? KRN_OK : check_backend(options->backend);
}

krn_status krn_cuda_context_create(const krn_cuda_context_options *options, krn_cuda_context **out) {
    const krn_cuda_context_options defaults = {.struct_size = sizeof defaults};
    if (out == NULL)
        return krn_fail(KRN_ERROR_NULL_ARGUMENT, "context is NULL");
    if (options == NULL)
        options = &defaults;
    krn_status status = check_options(options);
    if (status != KRN_OK)
        return status;

    krn_cuda_context *context = calloc(1, sizeof *context);
    if (context == NULL)
        return krn_fail(KRN_ERROR_OUT_OF_MEMORY, "could not allocate a context");
    context->backend = options->backend != NULL ? options->backend : krn_cuda_driver();
    status = context->backend->open(options->device, &context->state);
    if (status == KRN_OK)
        status = context->backend->properties(context->state, &context->properties);
    if (status == KRN_OK)
        status = choose_class(context, options->architecture);
    if (status == KRN_OK && context->backend == krn_cuda_driver() && krn_cuda_image_count == 0)
        status = krn_fail(KRN_ERROR_UNSUPPORTED,
                          "this kernels_cuda was built without nvcc and holds no kernels for %s; build it where nvcc "
                          "12.0 or newer is",
                          context->properties.name);
    if (status != KRN_OK) {
        krn_cuda_context_destroy(context);
        return status;
    }
    context->properties.struct_size = sizeof context->properties;
    *out = context;
    return KRN_OK;
}

void krn_cuda_context_destroy(krn_cuda_context *context) {
    if (context == NULL)
        return;
    context->backend->close(context->state);
    free(context);
}

int32_t krn_cuda_context_class(const krn_cuda_context *context) {
    return context == NULL ? KRN_CUDA_CLASS_SM80 : context->architecture;
}

int32_t krn_cuda_context_is_emulated(const krn_cuda_context *context) {
    return context == NULL ? 0 : (int32_t)context->backend->is_emulator;
}

krn_status krn_cuda_context_properties(const krn_cuda_context *context, krn_cuda_properties *properties) {
    if (context == NULL)
        return krn_fail(KRN_ERROR_NULL_ARGUMENT, "context is NULL");
    if (properties == NULL)
        return krn_fail(KRN_ERROR_NULL_ARGUMENT, "properties is NULL");
    if (properties->struct_size != sizeof *properties)
        return krn_fail(KRN_ERROR_STRUCT_SIZE, "properties->struct_size is %u, this library knows %u",
                        properties->struct_size, (unsigned)sizeof *properties);
    *properties = context->properties;
    return KRN_OK;
}

krn_status krn_cuda_run(krn_cuda_context *context, const char *kernel, const uint32_t blocks[3], uint32_t threads,
                        uint32_t shared_bytes, const void *params, uint32_t params_bytes, void *stream) {
    const krn_cuda_launch launch = {
        .kernel = kernel,
        .grid = {blocks[0], blocks[1], blocks[2]},
        .block = {threads, 1, 1},
        .shared_bytes = shared_bytes,
        .params_bytes = params_bytes,
        .params = params,
    };
    return context->backend->launch(context->state, &launch, stream);
}
