#include "cuda_device.h"

#include "cuda/common/backend.h"
#include "cuda/common/driver.h"

#include <stdlib.h>
#include <string.h>

#if defined(KRN_CUDA_HAS_EMULATOR)
const krn_cuda_backend *krn_cuda_emulator(void);
#endif

/* The emulator catches accesses outside of an allocation itself; on a GPU red zones catch writes near it. */
enum { ZONE_BYTES = 256, MAX_ALLOCATIONS = 256, FILL = 0xA5, SKIPPED = 77 };

typedef struct {
    unsigned char *memory;
    int64_t bytes;
} allocation;

static allocation allocations[MAX_ALLOCATIONS];
static int allocation_count;

static int on_driver(void) {
    const char *device = getenv("KRN_CUDA_TEST_DEVICE");
    CHECK(device == NULL || strcmp(device, "driver") == 0 || strcmp(device, "emulator") == 0,
          "KRN_CUDA_TEST_DEVICE is %s, neither driver nor emulator", device);
    return device != NULL && strcmp(device, "driver") == 0;
}

static const krn_cuda_backend *device_backend(void) {
    if (on_driver())
        return krn_cuda_driver();
#if defined(KRN_CUDA_HAS_EMULATOR)
    return krn_cuda_emulator();
#else
    printf("skipped: this build has no emulator, and KRN_CUDA_TEST_DEVICE is not driver\n");
    exit(SKIPPED);
#endif
}

/* --- Which kernels a test has run, for docs/gpu-status.md --------------------------------------------------------- */

enum { MAX_KERNELS = 512, MAX_KERNEL_NAME = 80 };

static const krn_cuda_backend *recorded;

static krn_status record_launch(void *state, const krn_cuda_launch *launch, void *stream) {
    /* Copies: a door may have put the name together on its stack. */
    static char seen[MAX_KERNELS][MAX_KERNEL_NAME];
    static int seen_count;
    static FILE *file;
    int known = 0;
    for (int i = 0; i < seen_count && !known; i++)
        known = strcmp(seen[i], launch->kernel) == 0;
    const krn_status status = recorded->launch(state, launch, stream);
    if (status != KRN_OK || known || seen_count == MAX_KERNELS)
        return status;
    CHECK(strlen(launch->kernel) < MAX_KERNEL_NAME, "the name %s is too long", launch->kernel);
    strcpy(seen[seen_count++], launch->kernel);
    if (file == NULL)
        file = fopen(getenv("KRN_CUDA_TEST_KERNELS"), "w");
    CHECK(file != NULL, "cannot write %s, which KRN_CUDA_TEST_KERNELS names", getenv("KRN_CUDA_TEST_KERNELS"));
    fprintf(file, "%s\n", launch->kernel);
    fflush(file);
    return status;
}

const krn_cuda_backend *cuda_backend(void) {
    static krn_cuda_backend recording;
    recorded = device_backend();
    if (getenv("KRN_CUDA_TEST_KERNELS") == NULL)
        return recorded;
    recording = *recorded;
    recording.launch = record_launch;
    return &recording;
}

/* ------------------------------------------------------------------------------------------------------------------ */

static krn_status create(int32_t architecture, krn_cuda_context **context) {
    const krn_cuda_context_options options = {
        .struct_size = sizeof options, .architecture = architecture, .backend = cuda_backend()};
    return krn_cuda_context_create(&options, context);
}

int cuda_classes(int32_t classes[4]) {
    static const int32_t known[] = {KRN_CUDA_CLASS_SM80, KRN_CUDA_CLASS_SM90A};
    int count = 0;
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
        krn_cuda_context *context = NULL;
        const krn_status status = create(known[i], &context);
        if (status == KRN_ERROR_DRIVER_UNAVAILABLE || status == KRN_ERROR_NO_DEVICE) {
            printf("skipped: %s\n", krn_last_error());
            exit(SKIPPED);
        }
        if (status == KRN_ERROR_ISA_UNAVAILABLE) {
            printf("without %s: %s\n", krn_cuda_class_name(known[i]), krn_last_error());
            continue;
        }
        CHECK_OK(status);
        krn_cuda_context_destroy(context);
        classes[count++] = known[i];
    }
    CHECK(count > 0, "the device has no class of kernels");
    return count;
}

krn_cuda_context *cuda_context_of(int32_t architecture) {
    krn_cuda_context *context = NULL;
    CHECK_OK(create(architecture, &context));
    return context;
}

void *cuda_allocate(krn_cuda_context *context, int64_t bytes) {
    void *memory = NULL;
    const int64_t zone = krn_cuda_context_is_emulated(context) ? 0 : ZONE_BYTES;
    const int64_t whole = bytes + 2 * zone;
    CHECK(allocation_count < MAX_ALLOCATIONS, "more than %d allocations", MAX_ALLOCATIONS);
    CHECK_OK(krn_cuda_memory_allocate(context, whole, &memory));
    CHECK_OK(krn_cuda_memory_set(context, memory, FILL, whole, NULL));
    allocations[allocation_count++] = (allocation){memory, bytes};
    return whole == 0 ? NULL : (unsigned char *)memory + zone;
}

void *cuda_copy_of(krn_cuda_context *context, const void *from, int64_t bytes) {
    void *memory = cuda_allocate(context, bytes);
    CHECK_OK(krn_cuda_memory_copy_to_device(context, memory, from, bytes, NULL));
    return memory;
}

void cuda_read(krn_cuda_context *context, void *to, const void *device_from, int64_t bytes) {
    CHECK_OK(krn_cuda_memory_copy_to_host(context, to, device_from, bytes, NULL));
    CHECK_OK(krn_cuda_stream_synchronize(context, NULL));
}

static void check_zone(krn_cuda_context *context, const unsigned char *zone, int64_t bytes, const char *side) {
    unsigned char values[ZONE_BYTES];
    cuda_read(context, values, zone, ZONE_BYTES);
    for (int i = 0; i < ZONE_BYTES; i++)
        CHECK(values[i] == FILL, "a kernel wrote %s an allocation of %lld bytes (byte %d)", side, (long long)bytes, i);
}

void cuda_free_all(krn_cuda_context *context) {
    CHECK_OK(krn_cuda_stream_synchronize(context, NULL));
    while (allocation_count > 0) {
        const allocation last = allocations[--allocation_count];
        if (!krn_cuda_context_is_emulated(context)) {
            check_zone(context, last.memory, last.bytes, "before");
            check_zone(context, last.memory + ZONE_BYTES + last.bytes, last.bytes, "behind");
        }
        CHECK_OK(krn_cuda_memory_free(context, last.memory));
    }
}
