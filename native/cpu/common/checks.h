/* Checks of arguments that the doors share. Each names the argument in the sentence that it records. */
#ifndef KRN_CHECKS_H
#define KRN_CHECKS_H

#include "common/status.h"

#include <stddef.h>

static inline int krn_is_float(int32_t type) {
    return type == KRN_TYPE_F32 || type == KRN_TYPE_F16 || type == KRN_TYPE_BF16;
}

/* Sizes of a tensor, small enough that no later product of them overflows: 4 bytes and one scale and zero point for
 * every element fit int64_t. */
static inline krn_status krn_check_shape(int64_t rows, int64_t cols) {
    if (rows < 0)
        return krn_fail(KRN_ERROR_SHAPE, "rows is %lld, must not be negative", (long long)rows);
    if (cols < 0)
        return krn_fail(KRN_ERROR_SHAPE, "cols is %lld, must not be negative", (long long)cols);
    const int64_t most_elems = INT64_MAX / 8;
    if (rows > most_elems || cols > most_elems || (cols > 0 && rows > most_elems / cols))
        return krn_fail(KRN_ERROR_SHAPE, "rows x cols is %lld x %lld, which does not fit the address space",
                        (long long)rows, (long long)cols);
    return KRN_OK;
}

/* A buffer with `elems` elements of `bytes` bytes in it. Without elements it may be anything. */
static inline krn_status krn_check_buffer(const char *name, const void *buffer, int64_t elems, int64_t bytes) {
    if (elems == 0)
        return KRN_OK;
    if (buffer == NULL)
        return krn_fail(KRN_ERROR_NULL_ARGUMENT, "%s is NULL", name);
    if ((uintptr_t)buffer % (uintptr_t)bytes != 0)
        return krn_fail(KRN_ERROR_ALIGNMENT, "%s is not aligned to its elements of %lld bytes", name, (long long)bytes);
    return KRN_OK;
}

/* A leading dimension, in units of `unit_bytes`, against the `width` that a row takes in them. */
static inline krn_status krn_check_ld(const char *name, int64_t ld, int64_t rows, int64_t width, int64_t unit_bytes) {
    if (ld < width)
        return krn_fail(KRN_ERROR_LEADING_DIMENSION, "%s is %lld, but a row takes %lld", name, (long long)ld,
                        (long long)width);
    if (rows > 0 && ld > INT64_MAX / unit_bytes / rows)
        return krn_fail(KRN_ERROR_LEADING_DIMENSION, "%s is %lld, too large for %lld rows", name, (long long)ld,
                        (long long)rows);
    return KRN_OK;
}

#endif
