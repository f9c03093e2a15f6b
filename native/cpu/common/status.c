#include "common/status.h"

#include <stdarg.h>
#include <stdio.h>

#if defined(KRN_X86_64)
#define KRN_TARGET "x86-64"
#elif defined(KRN_ARM64)
#define KRN_TARGET "arm64"
#else
#define KRN_TARGET "generic"
#endif

static KRN_THREAD_LOCAL char last_error[512];

krn_status krn_fail(krn_status status, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(last_error, sizeof last_error, format, arguments);
    va_end(arguments);
    return status;
}

void krn_set_last_error(const char *sentence) {
    snprintf(last_error, sizeof last_error, "%s", sentence == NULL ? "" : sentence);
}

const char *krn_last_error(void) { return last_error; }

const char *krn_status_name(krn_status status) {
    switch ((enum krn_status_code)status) {
    case KRN_OK: return "KRN_OK";
    case KRN_ERROR_NULL_ARGUMENT: return "KRN_ERROR_NULL_ARGUMENT";
    case KRN_ERROR_INVALID_ARGUMENT: return "KRN_ERROR_INVALID_ARGUMENT";
    case KRN_ERROR_STRUCT_SIZE: return "KRN_ERROR_STRUCT_SIZE";
    case KRN_ERROR_NON_FINITE: return "KRN_ERROR_NON_FINITE";
    case KRN_ERROR_SHAPE: return "KRN_ERROR_SHAPE";
    case KRN_ERROR_LEADING_DIMENSION: return "KRN_ERROR_LEADING_DIMENSION";
    case KRN_ERROR_BUFFER_TOO_SMALL: return "KRN_ERROR_BUFFER_TOO_SMALL";
    case KRN_ERROR_ALIGNMENT: return "KRN_ERROR_ALIGNMENT";
    case KRN_ERROR_BLOB_FORMAT: return "KRN_ERROR_BLOB_FORMAT";
    case KRN_ERROR_BLOB_CHECKSUM: return "KRN_ERROR_BLOB_CHECKSUM";
    case KRN_ERROR_UNSUPPORTED: return "KRN_ERROR_UNSUPPORTED";
    case KRN_ERROR_ISA_UNAVAILABLE: return "KRN_ERROR_ISA_UNAVAILABLE";
    case KRN_ERROR_OUT_OF_MEMORY: return "KRN_ERROR_OUT_OF_MEMORY";
    case KRN_ERROR_THREAD: return "KRN_ERROR_THREAD";
    case KRN_ERROR_OUT_OF_PAGES: return "KRN_ERROR_OUT_OF_PAGES";
    case KRN_ERROR_DRIVER_UNAVAILABLE: return "KRN_ERROR_DRIVER_UNAVAILABLE";
    case KRN_ERROR_NO_DEVICE: return "KRN_ERROR_NO_DEVICE";
    case KRN_ERROR_DEVICE: return "KRN_ERROR_DEVICE";
    case KRN_ERROR_KERNEL_FAULT: return "KRN_ERROR_KERNEL_FAULT";
    case KRN_ERROR_INTERNAL: return "KRN_ERROR_INTERNAL";
    }
    return "KRN_UNKNOWN_STATUS";
}

uint32_t krn_abi_version(void) { return KRN_ABI_VERSION; }

const char *krn_version_string(void) { return KRN_VERSION; }

const char *krn_build_info(void) { return KRN_COMPILER " " KRN_BUILD_TYPE " " KRN_TARGET; }
