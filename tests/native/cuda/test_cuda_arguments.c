/* What is refused before a device is asked, and what the library says about itself. */
#include "check.h"
#include "cuda/common/backend.h"
#include "kernels/kernels_cuda.h"

#include <stdlib.h>
#include <string.h>

static void refuses_bad_options(void) {
    krn_cuda_context *context = (krn_cuda_context *)(uintptr_t)1;
    krn_cuda_context_options options = {.struct_size = sizeof options};
    CHECK_STATUS(krn_cuda_context_create(&options, NULL), KRN_ERROR_NULL_ARGUMENT);
    options.struct_size = 4;
    CHECK_STATUS(krn_cuda_context_create(&options, &context), KRN_ERROR_STRUCT_SIZE);
    options.struct_size = sizeof options;
    options.device = -1;
    CHECK_STATUS(krn_cuda_context_create(&options, &context), KRN_ERROR_INVALID_ARGUMENT);
    options.device = 0;
    options.architecture = 75;
    CHECK_STATUS(krn_cuda_context_create(&options, &context), KRN_ERROR_INVALID_ARGUMENT);
    CHECK(strstr(krn_last_error(), "architecture") != NULL, "the message does not name the argument: %s",
          krn_last_error());
    options.architecture = KRN_CUDA_CLASS_AUTO;
    options.reserved = 1;
    CHECK_STATUS(krn_cuda_context_create(&options, &context), KRN_ERROR_INVALID_ARGUMENT);
    options.reserved = 0;
    const krn_cuda_backend other_build = {.struct_size = sizeof other_build - 8};
    options.backend = &other_build;
    CHECK_STATUS(krn_cuda_context_create(&options, &context), KRN_ERROR_STRUCT_SIZE);
    int32_t count = 5;
    CHECK_STATUS(krn_cuda_device_count(&other_build, &count), KRN_ERROR_STRUCT_SIZE);
    CHECK_STATUS(krn_cuda_device_count(NULL, NULL), KRN_ERROR_NULL_ARGUMENT);
    CHECK(count == 5 && context == (krn_cuda_context *)(uintptr_t)1, "a failing call wrote its output");
}

static void refuses_no_context(void) {
    void *memory = NULL;
    krn_cuda_properties properties = {.struct_size = sizeof properties};
    CHECK_STATUS(krn_cuda_context_properties(NULL, &properties), KRN_ERROR_NULL_ARGUMENT);
    CHECK_STATUS(krn_cuda_memory_allocate(NULL, 1, &memory), KRN_ERROR_NULL_ARGUMENT);
    CHECK_STATUS(krn_cuda_memory_free(NULL, memory), KRN_ERROR_NULL_ARGUMENT);
    CHECK_STATUS(krn_cuda_memory_copy_to_device(NULL, memory, memory, 0, NULL), KRN_ERROR_NULL_ARGUMENT);
    CHECK_STATUS(krn_cuda_memory_copy_to_host(NULL, memory, memory, 0, NULL), KRN_ERROR_NULL_ARGUMENT);
    CHECK_STATUS(krn_cuda_memory_copy_on_device(NULL, memory, memory, 0, NULL), KRN_ERROR_NULL_ARGUMENT);
    CHECK_STATUS(krn_cuda_memory_set(NULL, memory, 0, 0, NULL), KRN_ERROR_NULL_ARGUMENT);
    CHECK_STATUS(krn_cuda_stream_create(NULL, &memory), KRN_ERROR_NULL_ARGUMENT);
    CHECK_STATUS(krn_cuda_stream_destroy(NULL, NULL), KRN_ERROR_NULL_ARGUMENT);
    CHECK_STATUS(krn_cuda_stream_synchronize(NULL, NULL), KRN_ERROR_NULL_ARGUMENT);
    krn_cuda_context_destroy(NULL);
    CHECK(krn_cuda_context_class(NULL) == KRN_CUDA_CLASS_SM80, "class of NULL");
    CHECK(krn_cuda_context_is_emulated(NULL) == 0, "NULL is emulated");
}

int main(void) {
    refuses_bad_options();
    refuses_no_context();
    CHECK(krn_cuda_abi_version() == KRN_ABI_VERSION, "version %u", krn_cuda_abi_version());
    CHECK(strcmp(krn_cuda_class_name(KRN_CUDA_CLASS_SM90A), "sm90a") == 0, "name of a class");
    CHECK(krn_cuda_class_name(70) == NULL, "a class that is none has a name");
    CHECK((krn_cuda_kernel_count() > 0) == (strstr(krn_cuda_build_info(), "nvcc") != NULL), "%d kernels of '%s'",
          krn_cuda_kernel_count(), krn_cuda_build_info());
    return EXIT_SUCCESS;
}
