/* What the tests of planted faults share: a table of kernels, each sound with `planted` = 0 and at fault with 1. */
#ifndef KRN_TEST_CUDA_FAULTS_H
#define KRN_TEST_CUDA_FAULTS_H

#include "cuda_device.h"

#include "cuda/common/context.h"
#include "cuda/common/tensor_map.h"

#include <cstdlib>
#include <cstring>

struct FaultParams {
    krn_cuda_tensor_map map; /* of data, where the device has such: 16 rows of 64 bytes, swizzled */
    int32_t *data;           /* FAULT_WORDS words */
    int32_t planted;
};

constexpr int32_t FAULT_WORDS = 256;

struct Fault {
    const char *kernel;
    uint32_t blocks, threads, shared_bytes;
    /* Part of the sentence. */
    const char *says;
};

/* Runs the kernel without and with its fault. After a fault the device works on. */
inline void check_fault(krn_cuda_context *context, const Fault &f) {
    for (int32_t planted = 0; planted < 2; planted++) {
        FaultParams params = {};
        params.data = static_cast<int32_t *>(cuda_allocate(context, FAULT_WORDS * 4));
        params.planted = planted;
        krn_cuda_tensor_map_desc desc = {};
        desc.address = params.data;
        desc.sizes[0] = desc.strides_bytes[1] = desc.box[0] = 64;
        desc.sizes[1] = desc.box[1] = 16;
        desc.rank = 2;
        desc.element_bytes = 1;
        desc.swizzle = KRN_CUDA_SWIZZLE_64;
        CHECK_OK(context->backend->tensor_map(context->state, &params.map, &desc));
        const uint32_t blocks[3] = {f.blocks, 1, 1};
        const krn_status status =
            krn_cuda_run(context, f.kernel, blocks, f.threads, f.shared_bytes, &params, sizeof params, nullptr);
        if (planted == 0)
            CHECK(status == KRN_OK, "%s, nothing planted: %s", f.kernel, krn_last_error());
        else
            CHECK(status == KRN_ERROR_KERNEL_FAULT && strstr(krn_last_error(), f.says) != nullptr &&
                      strstr(krn_last_error(), f.kernel) != nullptr,
                  "%s gave %s: %s", f.kernel, krn_status_name(status), krn_last_error());
        cuda_free_all(context);
    }
}

/* All of a table, on the emulator's device of 9.0. Ends the program as skipped on another. */
template <int count> void check_faults(const Fault (&faults)[count]) {
    if (cuda_backend() == nullptr) {
        printf("skipped: faults are for the emulator\n");
        exit(77);
    }
    krn_cuda_context *const context = cuda_context_of(KRN_CUDA_CLASS_SM90A);
    for (const Fault &f : faults)
        check_fault(context, f);
    krn_cuda_context_destroy(context);
    printf("%d faults found\n", count);
}

#endif
