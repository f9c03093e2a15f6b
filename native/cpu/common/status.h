/* How the library says no. */
#ifndef KRN_STATUS_H
#define KRN_STATUS_H

#include "common/portability.h"
#include "kernels/common.h"

/* Records one sentence for krn_last_error() and returns `status`, so that a check reads
 * `return krn_fail(KRN_ERROR_SHAPE, "m is %lld, ...", ...)`. */
krn_status krn_fail(krn_status status, const char *format, ...) KRN_PRINTF(2, 3);

#endif
