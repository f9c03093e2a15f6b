/* The loops over memory that benchmarks are held against: each reads all of its input and writes all of its output. */
#include "cuda_device.h"

#include <algorithm>
#include <cstring>
#include <vector>

namespace {

void check_loops(krn_cuda_context *context, int64_t bytes) {
    const size_t count = static_cast<size_t>(bytes / 4);
    std::vector<float> a(count), b(count), to(count);
    for (size_t i = 0; i < count; i++) {
        a[i] = static_cast<float>(i % 1000);
        b[i] = static_cast<float>(i % 77) - 30.0f;
    }
    const void *const device_a = cuda_copy_of(context, a.data(), bytes);
    const void *const device_b = cuda_copy_of(context, b.data(), bytes);
    void *const device_to = cuda_allocate(context, bytes);

    CHECK_OK(krn_cuda_ceiling_run(context, KRN_CUDA_CEILING_COPY, bytes, device_to, device_a, nullptr, nullptr));
    cuda_read(context, to.data(), device_to, bytes);
    CHECK(memcmp(to.data(), a.data(), static_cast<size_t>(bytes)) == 0, "the copy of %d bytes differs",
          static_cast<int>(bytes));

    CHECK_OK(krn_cuda_ceiling_run(context, KRN_CUDA_CEILING_TRIAD, bytes, device_to, device_a, device_b, nullptr));
    cuda_read(context, to.data(), device_to, bytes);
    for (size_t i = 0; i < count; i++)
        CHECK(to[i] == a[i] + 3.0f * b[i], "element %d is %g", static_cast<int>(i), static_cast<double>(to[i]));

    /* One word that is not zero, wherever it lies, is seen by some warp. */
    void *const words = cuda_allocate(context, KRN_CUDA_CEILING_READ_BYTES);
    std::vector<uint32_t> input(count), seen(KRN_CUDA_CEILING_READ_BYTES / 4);
    for (const size_t place : {size_t{0}, count / 2, count - 1}) {
        std::fill(input.begin(), input.end(), 0u);
        input[place] = 0x10000000u;
        const void *const device_input = cuda_copy_of(context, input.data(), bytes);
        CHECK_OK(krn_cuda_memory_set(context, words, 0, KRN_CUDA_CEILING_READ_BYTES, nullptr));
        CHECK_OK(krn_cuda_ceiling_run(context, KRN_CUDA_CEILING_READ, bytes, words, device_input, nullptr, nullptr));
        cuda_read(context, seen.data(), words, KRN_CUDA_CEILING_READ_BYTES);
        int found = 0;
        for (const uint32_t word : seen)
            found += word == 0x10000000u;
        CHECK(found == 1, "word %d was seen by %d warps", static_cast<int>(place), found);
    }
    cuda_free_all(context);
}

void refuses(krn_cuda_context *context) {
    alignas(16) char memory[32];
    CHECK_STATUS(krn_cuda_ceiling_run(nullptr, 1, 16, memory, memory, nullptr, nullptr), KRN_ERROR_NULL_ARGUMENT);
    CHECK_STATUS(krn_cuda_ceiling_run(context, 0, 16, memory, memory, nullptr, nullptr), KRN_ERROR_INVALID_ARGUMENT);
    CHECK_STATUS(krn_cuda_ceiling_run(context, 2, 8, memory, memory, nullptr, nullptr), KRN_ERROR_INVALID_ARGUMENT);
    CHECK_STATUS(krn_cuda_ceiling_run(context, 2, -16, memory, memory, nullptr, nullptr), KRN_ERROR_INVALID_ARGUMENT);
    CHECK_STATUS(krn_cuda_ceiling_run(context, 2, 16, nullptr, memory, nullptr, nullptr), KRN_ERROR_NULL_ARGUMENT);
    CHECK_STATUS(krn_cuda_ceiling_run(context, 2, 16, memory, memory + 4, nullptr, nullptr), KRN_ERROR_ALIGNMENT);
    CHECK_STATUS(krn_cuda_ceiling_run(context, 3, 16, memory, memory, nullptr, nullptr), KRN_ERROR_NULL_ARGUMENT);
    CHECK_OK(krn_cuda_ceiling_run(context, 3, 0, memory, memory, memory, nullptr));
}

} // namespace

int main() {
    int32_t classes[4];
    const int count = cuda_classes(classes);
    krn_cuda_context *context = cuda_context_of(classes[count - 1]);
    for (const int64_t bytes : {int64_t{16}, int64_t{4096 + 48}, int64_t{1} << 20})
        check_loops(context, bytes);
    refuses(context);
    krn_cuda_context_destroy(context);
    return 0;
}
