/* Failures of this library are told by krn_last_error() of kernels_cpu. Only the shared libraries have this file: what is
 * linked statically has kernels_cpu's own krn_fail. */
#include "common/status.h"

#include <stdarg.h>
#include <stdio.h>

krn_status krn_fail(krn_status status, const char *format, ...) {
    char sentence[512];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(sentence, sizeof sentence, format, arguments);
    va_end(arguments);
    krn_set_last_error(sentence);
    return status;
}
