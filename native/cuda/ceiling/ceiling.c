#include "common/status.h"
#include "cuda/ceiling/ceiling_params.h"
#include "cuda/common/context.h"
#include "kernels/cuda_ceiling.h"

#include <stddef.h>

enum { VECTOR_BYTES = 16, WARPS = KRN_CUDA_CEILING_THREADS / 32 };

_Static_assert(KRN_CUDA_CEILING_MOST_BLOCKS *WARPS * 4 == KRN_CUDA_CEILING_READ_BYTES, "a word for every warp");

static const char *kernel_of(int32_t ceiling) {
    switch (ceiling) {
    case KRN_CUDA_CEILING_READ: return "krn_ceiling_read";
    case KRN_CUDA_CEILING_COPY: return "krn_ceiling_copy";
    case KRN_CUDA_CEILING_TRIAD: return "krn_ceiling_triad";
    default: return NULL;
    }
}

static krn_status check_memory(const char *name, const void *memory) {
    if (memory == NULL)
        return krn_fail(KRN_ERROR_NULL_ARGUMENT, "%s is NULL", name);
    if ((uintptr_t)memory % VECTOR_BYTES != 0)
        return krn_fail(KRN_ERROR_ALIGNMENT, "%s is not aligned to %d bytes", name, VECTOR_BYTES);
    return KRN_OK;
}

krn_status krn_cuda_ceiling_run(krn_cuda_context *context, int32_t ceiling, int64_t bytes, void *to, const void *a,
                                const void *b, void *stream) {
    if (context == NULL)
        return krn_fail(KRN_ERROR_NULL_ARGUMENT, "context is NULL");
    if (kernel_of(ceiling) == NULL)
        return krn_fail(KRN_ERROR_INVALID_ARGUMENT, "ceiling is %d, which is not a krn_cuda_ceiling", ceiling);
    if (bytes < 0 || bytes % VECTOR_BYTES != 0)
        return krn_fail(KRN_ERROR_INVALID_ARGUMENT, "bytes is %lld, must be a multiple of %d and not negative",
                        (long long)bytes, VECTOR_BYTES);
    krn_status status = check_memory("to", to);
    if (status == KRN_OK)
        status = check_memory("a", a);
    if (status == KRN_OK && ceiling == KRN_CUDA_CEILING_TRIAD)
        status = check_memory("b", b);
    if (status != KRN_OK || bytes == 0)
        return status;

    /* As many blocks as the device holds at once: each goes through the memory with all others. */
    const int32_t resident = context->properties.multiprocessors * KRN_CUDA_CEILING_BLOCKS_PER_SM;
    const uint32_t blocks[3] = {
        (uint32_t)(resident < KRN_CUDA_CEILING_MOST_BLOCKS ? resident : KRN_CUDA_CEILING_MOST_BLOCKS), 1, 1};
    const krn_cuda_ceiling_params params = {.to = to, .a = a, .b = b, .vectors = bytes / VECTOR_BYTES};
    return krn_cuda_run(context, kernel_of(ceiling), blocks, KRN_CUDA_CEILING_THREADS, 0, &params, sizeof params,
                        stream);
}
