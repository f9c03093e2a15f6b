/* The kernels of quantize_per_token.cu against the CPU's reference, bit for bit: the shape of a kernel's test. */
#include "cuda_device.h"

#include "cuda/common/context.h"
#include "cuda/quantize/quantize_params.h"

#include <cmath>
#include <cstring>
#include <vector>

namespace {

struct Shape {
    int32_t rows, cols;
    int64_t source_ld, codes_ld_bytes;
    float clip_ratio;
};

std::vector<float> source_of(const Shape &s, test_random &random) {
    /* Rows end where the tensor ends, and the padding between them is NaN. */
    std::vector<float> source(static_cast<size_t>((s.rows - 1) * s.source_ld + s.cols), NAN);
    for (int64_t r = 0; r < s.rows; r++)
        for (int64_t c = 0; c < s.cols; c++)
            source[static_cast<size_t>(r * s.source_ld + c)] = r == 2 ? 0.0f : random_activation(&random);
    return source;
}

void check(krn_cuda_context *device, krn_context *host, const char *kernel, const Shape &s, test_random &random) {
    const std::vector<float> source = source_of(s, random);
    const size_t code_bytes = static_cast<size_t>((s.rows - 1) * s.codes_ld_bytes + s.cols);
    std::vector<uint8_t> expected(code_bytes, 0xA5), codes(code_bytes);
    std::vector<float> expected_scales(static_cast<size_t>(s.rows)), scales(expected_scales.size());

    krn_quantize_options options = {};
    options.struct_size = sizeof options;
    options.type = KRN_TYPE_S8;
    options.granularity = KRN_GRANULARITY_TOKEN;
    options.clip_ratio = s.clip_ratio;
    CHECK_OK(krn_quantize(host, &options, s.rows, s.cols, KRN_TYPE_F32, source.data(), s.source_ld, expected.data(),
                          s.codes_ld_bytes, expected_scales.data(), nullptr, nullptr));

    krn_cuda_quantize_params params = {};
    params.source = static_cast<const float *>(
        cuda_copy_of(device, source.data(), static_cast<int64_t>(source.size() * sizeof(float))));
    params.codes = static_cast<int8_t *>(cuda_allocate(device, static_cast<int64_t>(code_bytes)));
    params.scales = static_cast<float *>(cuda_allocate(device, s.rows * 4));
    params.source_ld = s.source_ld;
    params.codes_ld_bytes = s.codes_ld_bytes;
    params.cols = s.cols;
    params.clip_ratio = s.clip_ratio;
    const uint32_t blocks[3] = {static_cast<uint32_t>(s.rows), 1, 1};
    CHECK_OK(krn_cuda_run(device, kernel, blocks, KRN_CUDA_QUANTIZE_THREADS, KRN_CUDA_QUANTIZE_SHARED_BYTES, &params,
                          sizeof params, nullptr));

    cuda_read(device, codes.data(), params.codes, static_cast<int64_t>(code_bytes));
    cuda_read(device, scales.data(), params.scales, s.rows * 4);
    CHECK(memcmp(scales.data(), expected_scales.data(), scales.size() * 4) == 0, "%s: scales differ", kernel);
    for (size_t i = 0; i < code_bytes; i++)
        CHECK(codes[i] == expected[i], "%s: byte %zu is %d, expected %d", kernel, i, codes[i], expected[i]);
    cuda_free_all(device);
}

void flags_what_is_not_finite(krn_cuda_context *device) {
    const float values[2][4] = {{1, 2, 3, 4}, {1, INFINITY, 3, 4}};
    for (int32_t r = 0; r < 2; r++) {
        const int32_t none = 0;
        int32_t flags = -1;
        krn_cuda_quantize_params params = {};
        params.source = static_cast<const float *>(cuda_copy_of(device, values[r], sizeof values[r]));
        params.codes = static_cast<int8_t *>(cuda_allocate(device, 4));
        params.scales = static_cast<float *>(cuda_allocate(device, 4));
        params.device_flags = static_cast<int32_t *>(cuda_copy_of(device, &none, sizeof none));
        params.source_ld = params.codes_ld_bytes = params.cols = 4;
        params.clip_ratio = 1;
        const uint32_t blocks[3] = {1, 1, 1};
        CHECK_OK(krn_cuda_run(device, "krn_quantize_per_token_f32_s8", blocks, KRN_CUDA_QUANTIZE_THREADS,
                              KRN_CUDA_QUANTIZE_SHARED_BYTES, &params, sizeof params, nullptr));
        cuda_read(device, &flags, params.device_flags, sizeof flags);
        CHECK(flags == (r == 0 ? 0 : KRN_CUDA_FLAG_NON_FINITE), "row %d: the flags are %d", r, flags);
        cuda_free_all(device);
    }
}

} // namespace

int main() {
    test_random random = {1};
    krn_context *const host = context_of(KRN_ISA_REF, 1);
    krn_cuda_context *const device = cuda_context_of(KRN_CUDA_CLASS_AUTO);
    const Shape aligned[] = {{1, 4, 4, 4, 1}, {3, 1024, 1024, 1024, 1}, {5, 1028, 1040, 1032, 0.9f}};
    for (const Shape &shape : aligned)
        check(device, host, "krn_quantize_per_token_f32_s8", shape, random);
    const Shape any[] = {{1, 1, 1, 1, 1}, {4, 257, 259, 300, 1}, {3, 1023, 1023, 1023, 0.5f}};
    for (const Shape &shape : any)
        check(device, host, "krn_quantize_per_token_f32_s8_any", shape, random);
    flags_what_is_not_finite(device);
    krn_cuda_context_destroy(device);
    krn_context_destroy(host);
    return 0;
}
