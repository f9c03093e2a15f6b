/* Checks of arguments that the doors of kernels_cuda have in common, beside those of common/checks.h of kernels_cpu. */
#ifndef KRN_CUDA_ARGUMENTS_H
#define KRN_CUDA_ARGUMENTS_H

#include "common/checks.h"

enum {
    KRN_CUDA_TENSOR_ALIGNMENT = 16,
    KRN_CUDA_WORKSPACE_ALIGNMENT = 256,
    /* Kernels count the elements of a row in 32 bits. */
    KRN_CUDA_MAX_COLS = 1 << 30,
};

/* Device memory with `elems` elements in it. Without elements it may be anything. */
static inline krn_status krn_cuda_check_tensor(const char *name, const void *tensor, int64_t elems) {
    if (elems == 0)
        return KRN_OK;
    if (tensor == NULL)
        return krn_fail(KRN_ERROR_NULL_ARGUMENT, "%s is NULL", name);
    if ((uintptr_t)tensor % KRN_CUDA_TENSOR_ALIGNMENT != 0)
        return krn_fail(KRN_ERROR_ALIGNMENT, "%s is not aligned to %d bytes", name, KRN_CUDA_TENSOR_ALIGNMENT);
    return KRN_OK;
}

static inline krn_status krn_cuda_check_workspace(const void *workspace, int64_t bytes, int64_t needed) {
    if (needed == 0)
        return KRN_OK;
    if (workspace == NULL)
        return krn_fail(KRN_ERROR_NULL_ARGUMENT, "workspace is NULL");
    if ((uintptr_t)workspace % KRN_CUDA_WORKSPACE_ALIGNMENT != 0)
        return krn_fail(KRN_ERROR_ALIGNMENT, "workspace is not aligned to %d bytes", KRN_CUDA_WORKSPACE_ALIGNMENT);
    if (bytes < needed)
        return krn_fail(KRN_ERROR_BUFFER_TOO_SMALL, "workspace_bytes is %lld, the call needs %lld", (long long)bytes,
                        (long long)needed);
    return KRN_OK;
}

/* Sizes that kernels can count. */
static inline krn_status krn_cuda_check_sizes(int64_t rows, int64_t cols) {
    if (rows > INT32_MAX)
        return krn_fail(KRN_ERROR_UNSUPPORTED, "rows is %lld; kernels take at most %d", (long long)rows, INT32_MAX);
    if (cols > KRN_CUDA_MAX_COLS)
        return krn_fail(KRN_ERROR_UNSUPPORTED, "cols is %lld; kernels take at most %d", (long long)cols,
                        KRN_CUDA_MAX_COLS);
    return KRN_OK;
}

static inline krn_status krn_cuda_check_flags(const int32_t *device_flags) {
    return (uintptr_t)device_flags % sizeof(int32_t) == 0
               ? KRN_OK
               : krn_fail(KRN_ERROR_ALIGNMENT, "device_flags is not aligned to %d bytes", (int)sizeof(int32_t));
}

#endif
