/* A machine without a driver: every way in gives a clean status and a sentence, and writes nothing. */
#include "check.h"
#include "kernels/kernels_cuda.h"

#include <stdlib.h>
#include <string.h>

int main(void) {
    int32_t count = 123;
    const krn_status status = krn_cuda_device_count(NULL, &count);
    if (status == KRN_OK) {
        printf("skipped: this machine has a CUDA driver\n");
        return 77;
    }
    CHECK_STATUS(status, KRN_ERROR_DRIVER_UNAVAILABLE);
    CHECK(count == 123, "a failing call wrote %d", count);
#if defined(_WIN32)
    CHECK(strstr(krn_last_error(), "nvcuda.dll") != NULL, "the sentence names no library: %s", krn_last_error());
#else
    CHECK(strstr(krn_last_error(), "libcuda.so.1") != NULL, "the sentence names no library: %s", krn_last_error());
#endif
    krn_cuda_context *context = (krn_cuda_context *)(uintptr_t)1;
    CHECK_STATUS(krn_cuda_context_create(NULL, &context), KRN_ERROR_DRIVER_UNAVAILABLE);
    CHECK(context == (krn_cuda_context *)(uintptr_t)1, "a failing call wrote its output");
    return EXIT_SUCCESS;
}
