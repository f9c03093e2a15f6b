/* The layer over the driver, against a driver that records its calls. */
#include "check.h"
#include "common/status.h"
#include "cuda/common/context.h"
#include "cuda/common/driver.h"
#include "cuda/common/driver_api.h"
#include "fake_driver.h"
#include "kernels/kernels_cuda.h"

#include <stdlib.h>
#include <string.h>

#if defined(_WIN32)
#define WIN32_LEAN_AND_MEAN
#include <windows.h>
#else
#include <dlfcn.h>
#endif

static const fake_driver_control *fake;

static const char *const common_names[] = {"krn_a", "krn_b"};
static const char *const other_names[] = {"krn_90"};
static const krn_cuda_image common_image = {"common.cu", FAKE_IMAGE " krn_b krn_a", 0, common_names, 2};
static const krn_cuda_image other_image = {"other.cu", FAKE_IMAGE_OTHER " krn_90", 0, other_names, 1};
static const krn_cuda_image *const images[] = {&other_image, &common_image};

static krn_status open_with_images(int32_t device, void **state) {
    return krn_cuda_driver_open(device, images, 2, state);
}

/* The driver's backend, with kernels that the fake can load. */
static const krn_cuda_backend *backend(void) {
    static krn_cuda_backend copy;
    copy = *krn_cuda_driver();
    copy.open = open_with_images;
    return &copy;
}

static const fake_driver_control *find_control(void) {
#if defined(_WIN32)
    HMODULE library = LoadLibraryA(KRN_CUDA_DRIVER_LIBRARY);
    CHECK(library != NULL, "the fake driver cannot be loaded");
    return (const fake_driver_control *)(uintptr_t)GetProcAddress(library, FAKE_DRIVER_CONTROL);
#else
    void *library = dlopen(KRN_CUDA_DRIVER_LIBRARY, RTLD_NOW);
    CHECK(library != NULL, "the fake driver cannot be loaded: %s", dlerror());
    return dlsym(library, FAKE_DRIVER_CONTROL);
#endif
}

static krn_cuda_context *context_for(int32_t architecture) {
    krn_cuda_context *context = NULL;
    const krn_cuda_context_options options = {
        .struct_size = sizeof options, .architecture = architecture, .backend = backend()};
    CHECK_OK(krn_cuda_context_create(&options, &context));
    return context;
}

static void check_log(const char *line) {
    CHECK(strstr(fake->log(), line) != NULL, "the driver was not called as '%s' but so:\n%s", line, fake->log());
}

static void opens_and_closes(void) {
    fake->clear_log();
    krn_cuda_context *context = context_for(KRN_CUDA_CLASS_AUTO);
    check_log("cuInit 0\n");
    check_log("cuDevicePrimaryCtxRetain 0\ncuCtxGetCurrent\ncuCtxPushCurrent_v2\n");
    check_log("cuModuleLoadData other krn_90\n");
    check_log("cuModuleGetFunction krn_b\n");
    check_log("cuFuncSetAttribute krn_a 8 = 231424\n"); /* 227 KiB less the kernel's static 1024 bytes */
    CHECK(strstr(fake->log(), "cuModuleGetFunction krn_90") == NULL, "a kernel without machine code was looked for");
    CHECK(fake->current_context() == NULL, "the context is still current");
    CHECK(krn_cuda_context_class(context) == KRN_CUDA_CLASS_SM90A, "class %d", krn_cuda_context_class(context));
    CHECK(krn_cuda_context_is_emulated(context) == 0, "the driver is emulated");

    krn_cuda_properties properties = {.struct_size = sizeof properties};
    CHECK_OK(krn_cuda_context_properties(context, &properties));
    CHECK(strcmp(properties.name, "Fake 0") == 0, "name %s", properties.name);
    CHECK(properties.compute_major == 9 && properties.compute_minor == 0, "capability");
    CHECK(properties.multiprocessors == 1016 && properties.l2_bytes == 1038 && properties.clock_khz == 1013,
          "attributes");
    CHECK(properties.memory_bytes == (int64_t)6 << 30 && properties.driver_version == 12040, "memory and version");
    CHECK(properties.shared_bytes_per_block == 227 * 1024, "shared memory");
    properties.struct_size = 8;
    CHECK_STATUS(krn_cuda_context_properties(context, &properties), KRN_ERROR_STRUCT_SIZE);
    krn_cuda_context_destroy(context);
    CHECK(fake->live_objects() == 0, "%d objects of the driver are left", fake->live_objects());
}

static void launches(void) {
    krn_cuda_context *context = context_for(KRN_CUDA_CLASS_SM80);
    CHECK(krn_cuda_context_class(context) == KRN_CUDA_CLASS_SM80, "class %d", krn_cuda_context_class(context));
    const uint64_t params = 0x1234567890abcdef;
    const uint32_t blocks[3] = {2, 3, 4};
    fake->clear_log();
    CHECK_OK(krn_cuda_run(context, "krn_b", blocks, 96, 70000, &params, sizeof params, (void *)(uintptr_t)9));
    CHECK(strcmp(fake->log(), "cuCtxGetCurrent\ncuCtxPushCurrent_v2\n"
                              "cuLaunchKernelEx krn_b grid 2 3 4 block 96 1 1 shared 70000 stream 9 attributes 0\n"
                              "cuCtxPopCurrent_v2\n") == 0,
          "a launch made these calls:\n%s", fake->log());
    CHECK(fake->last_param() == params, "the parameter came as %llx", (unsigned long long)fake->last_param());

    const krn_cuda_launch clustered = {.kernel = "krn_a",
                                       .grid = {8, 1, 1},
                                       .block = {384, 1, 1},
                                       .cluster = {2, 1, 1},
                                       .params = &params,
                                       .params_bytes = sizeof params};
    CHECK_OK(context->backend->launch(context->state, &clustered, NULL));
    check_log("cuLaunchKernelEx krn_a grid 8 1 1 block 384 1 1 shared 0 stream 0 attributes 1 cluster 211\n");

    CHECK_STATUS(krn_cuda_run(context, "krn_c", blocks, 32, 0, &params, sizeof params, NULL), KRN_ERROR_UNSUPPORTED);
    CHECK_STATUS(krn_cuda_run(context, "krn_90", blocks, 32, 0, &params, sizeof params, NULL), KRN_ERROR_UNSUPPORTED);
    CHECK(strstr(krn_last_error(), "Fake 0") != NULL, "the sentence names no device: %s", krn_last_error());
    fake->fail("cuLaunchKernelEx", 701);
    CHECK_STATUS(krn_cuda_run(context, "krn_a", blocks, 32, 0, &params, sizeof params, NULL), KRN_ERROR_DEVICE);
    CHECK(strcmp(krn_last_error(),
                 "cuLaunchKernelEx of the CUDA driver gave CUDA_ERROR_OF_A_TEST (701): as the test wanted") == 0,
          "the sentence is: %s", krn_last_error());
    fake->fail("", 0);
    CHECK(fake->current_context() == NULL, "a failed launch left the context current");
    krn_cuda_context_destroy(context);
}

static void encodes_tensor_maps(void) {
    krn_cuda_context *context = context_for(KRN_CUDA_CLASS_AUTO);
    _Alignas(KRN_CUDA_TENSOR_MAP_ALIGNMENT) unsigned char map[KRN_CUDA_TENSOR_MAP_BYTES];
    const krn_cuda_tensor_map_desc desc = {.address = (void *)(uintptr_t)4096,
                                           .sizes = {512, 100},
                                           .strides_bytes = {1, 640},
                                           .box = {128, 64},
                                           .rank = 2,
                                           .element_bytes = 1,
                                           .swizzle = KRN_CUDA_SWIZZLE_128};
    fake->clear_log();
    CHECK_OK(context->backend->tensor_map(context->state, map, &desc));
    check_log("cuTensorMapEncodeTiled type 0 rank 2 address 4096 sizes 512 100 stride 640 box 128 64 steps 1 1 "
              "interleave 0 swizzle 3 promotion 3 fill 0\n");
    CHECK(map[127] == 0x11, "the map was not written");
    krn_cuda_context_destroy(context);
}

static void moves_memory(void) {
    krn_cuda_context *context = context_for(KRN_CUDA_CLASS_AUTO);
    unsigned char bytes[64];
    void *a = NULL;
    void *b = NULL;
    void *stream = NULL;
    for (int i = 0; i < 64; i++)
        bytes[i] = (unsigned char)(i * 3);
    CHECK_OK(krn_cuda_stream_create(context, &stream));
    CHECK_OK(krn_cuda_memory_allocate(context, 64, &a));
    CHECK_OK(krn_cuda_memory_allocate(context, 64, &b));
    fake->clear_log();
    CHECK_OK(krn_cuda_memory_copy_to_device(context, a, bytes, 64, stream));
    CHECK_OK(krn_cuda_memory_copy_on_device(context, b, a, 64, stream));
    CHECK_OK(krn_cuda_memory_set(context, a, 7, 64, stream));
    CHECK_OK(krn_cuda_memory_copy_to_host(context, bytes, b, 64, stream));
    CHECK_OK(krn_cuda_stream_synchronize(context, stream));
    CHECK(bytes[63] == 189 && ((unsigned char *)a)[63] == 7, "the bytes are not what was copied");
    check_log("cuMemcpyHtoDAsync_v2 64 stream 77\n");
    check_log("cuMemcpyDtoDAsync_v2 64 stream 77\n");
    check_log("cuMemsetD8Async 7 64 stream 77\n");
    check_log("cuMemcpyDtoHAsync_v2 64 stream 77\n");
    check_log("cuStreamSynchronize 77\n");

    fake->clear_log();
    CHECK_OK(krn_cuda_memory_copy_to_host(context, NULL, NULL, 0, NULL));
    CHECK_STATUS(krn_cuda_memory_copy_to_host(context, bytes, b, -1, NULL), KRN_ERROR_INVALID_ARGUMENT);
    CHECK_STATUS(krn_cuda_memory_copy_to_host(context, bytes, NULL, 1, NULL), KRN_ERROR_NULL_ARGUMENT);
    CHECK_STATUS(krn_cuda_memory_copy_to_device(context, NULL, bytes, 1, NULL), KRN_ERROR_NULL_ARGUMENT);
    CHECK_STATUS(krn_cuda_memory_set(context, NULL, 0, 1, NULL), KRN_ERROR_NULL_ARGUMENT);
    CHECK_STATUS(krn_cuda_memory_allocate(context, -1, &a), KRN_ERROR_INVALID_ARGUMENT);
    CHECK(fake->log()[0] == '\0', "a refused call reached the driver:\n%s", fake->log());

    void *none = (void *)(uintptr_t)1;
    fake->fail("cuMemAlloc_v2", KRN_CU_ERROR_OUT_OF_MEMORY);
    CHECK_STATUS(krn_cuda_memory_allocate(context, 64, &none), KRN_ERROR_OUT_OF_MEMORY);
    CHECK(none == (void *)(uintptr_t)1, "a failing call wrote its output");
    fake->fail("", 0);
    CHECK_OK(krn_cuda_memory_allocate(context, 0, &none));
    CHECK(none == NULL, "an allocation of nothing is something");
    CHECK_OK(krn_cuda_memory_free(context, NULL));
    CHECK_OK(krn_cuda_memory_free(context, a));
    CHECK_OK(krn_cuda_memory_free(context, b));
    CHECK_OK(krn_cuda_stream_destroy(context, stream));
    krn_cuda_context_destroy(context);
    CHECK(fake->live_objects() == 0, "%d objects of the driver are left", fake->live_objects());
}

/* Every function that opening calls, failing in turn: a status, no crash, nothing left over. */
static void survives_failures(void) {
    static const char *const functions[] = {
        "cuInit",
        "cuDriverGetVersion",
        "cuDeviceGetCount",
        "cuDeviceGet",
        "cuDeviceGetName",
        "cuDeviceGetAttribute",
        "cuDeviceTotalMem_v2",
        "cuDevicePrimaryCtxRetain",
        "cuCtxGetCurrent",
        "cuCtxPushCurrent_v2",
        "cuModuleLoadData",
        "cuModuleGetFunction",
        "cuFuncGetAttribute",
        "cuFuncSetAttribute",
    };
    const krn_cuda_context_options options = {.struct_size = sizeof options, .backend = backend()};
    for (size_t i = 0; i < sizeof functions / sizeof functions[0]; i++) {
        krn_cuda_context *context = NULL;
        fake->fail(functions[i], 999);
        CHECK_STATUS(krn_cuda_context_create(&options, &context), KRN_ERROR_DEVICE);
        CHECK(strstr(krn_last_error(), "CUDA_ERROR_OF_A_TEST (999)") != NULL, "the sentence is: %s", krn_last_error());
        fake->fail("", 0);
        CHECK(context == NULL && fake->live_objects() == 0, "%s failed, and %d objects are left", functions[i],
              fake->live_objects());
    }
}

static void chooses_devices(void) {
    krn_cuda_context *context = NULL;
    krn_cuda_context_options options = {.struct_size = sizeof options, .backend = backend()};
    int32_t count = -1;
    fake->set_devices(0, 0, 0);
    CHECK_OK(krn_cuda_device_count(NULL, &count));
    CHECK(count == 0, "%d devices of none", count);
    CHECK_STATUS(krn_cuda_context_create(&options, &context), KRN_ERROR_NO_DEVICE);
    fake->set_devices(2, 8, 6);
    options.device = 2;
    CHECK_STATUS(krn_cuda_context_create(&options, &context), KRN_ERROR_NO_DEVICE);
    options.device = 1;
    CHECK_OK(krn_cuda_context_create(&options, &context));
    CHECK(krn_cuda_context_class(context) == KRN_CUDA_CLASS_SM80, "class %d of 8.6", krn_cuda_context_class(context));
    krn_cuda_context_destroy(context);
    options.architecture = KRN_CUDA_CLASS_SM90A;
    CHECK_STATUS(krn_cuda_context_create(&options, &context), KRN_ERROR_ISA_UNAVAILABLE);
    options.architecture = KRN_CUDA_CLASS_AUTO;
    fake->set_devices(2, 7, 5);
    CHECK_STATUS(krn_cuda_context_create(&options, &context), KRN_ERROR_UNSUPPORTED);
    fake->set_devices(2, 10, 0);
    CHECK_STATUS(krn_cuda_context_create(&options, &context), KRN_ERROR_UNSUPPORTED);
    fake->set_devices(1, 9, 0);
    fake->set_version(11080);
    CHECK_STATUS(krn_cuda_device_count(NULL, &count), KRN_ERROR_DRIVER_UNAVAILABLE);
    CHECK(strstr(krn_last_error(), "11.8") != NULL, "the sentence is: %s", krn_last_error());
    fake->set_version(12040);
    fake->fail("cuInit", KRN_CU_ERROR_SYSTEM_DRIVER_MISMATCH);
    CHECK_STATUS(krn_cuda_device_count(NULL, &count), KRN_ERROR_DRIVER_UNAVAILABLE);
    fake->fail("", 0);
    CHECK(fake->live_objects() == 0, "%d objects of the driver are left", fake->live_objects());
}

/* Without nvcc the library has no kernels, and says so rather than fail at the first launch. */
static void tells_that_it_has_no_kernels(void) {
    krn_cuda_context *context = NULL;
    if (krn_cuda_kernel_count() != 0)
        return;
    CHECK_STATUS(krn_cuda_context_create(NULL, &context), KRN_ERROR_UNSUPPORTED);
    CHECK(strstr(krn_last_error(), "nvcc") != NULL, "the sentence is: %s", krn_last_error());
}

int main(void) {
    fake = find_control();
    if (fake == NULL) {
        printf("skipped: another CUDA driver was found before the one of this test\n");
        return 77;
    }
    opens_and_closes();
    launches();
    encodes_tensor_maps();
    moves_memory();
    survives_failures();
    chooses_devices();
    tells_that_it_has_no_kernels();
    return EXIT_SUCCESS;
}
