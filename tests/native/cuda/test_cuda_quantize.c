/* krn_cuda_quantize and krn_cuda_dequantize against the CPU's reference, bit for bit. */
#include "cuda_device.h"
#include "quantize_case.h"

#include <math.h>
#include <string.h>

static int64_t element_bytes(int32_t type) { return type == KRN_TYPE_F32 ? 4 : 2; }

/* The case on the device, into buffers that look as those of quantize_case_buffers do. */
static quantize_result run_on_device(const quantize_case *c, krn_cuda_context *device) {
    quantize_result r = quantize_case_buffers(c);
    const int64_t source_bytes = ((c->rows - 1) * c->source_ld + c->cols) * element_bytes(c->source_type);
    const void *source = cuda_copy_of(device, c->source, source_bytes);
    uint8_t *codes = cuda_allocate(device, r.codes_bytes);
    float *scales = cuda_allocate(device, r.scale_count * 4);
    int32_t *zero_points = r.zero_points == NULL ? NULL : cuda_allocate(device, r.scale_count * 4);
    void *target = cuda_allocate(device, r.target_bytes);
    int32_t no_flags = 0, flags = -1;
    int32_t *device_flags = cuda_copy_of(device, &no_flags, sizeof no_flags);
    int64_t bytes = -1;
    CHECK_OK(krn_cuda_quantize_workspace_size(&c->options, &bytes));
    void *workspace = cuda_allocate(device, bytes);
    CHECK_OK(krn_cuda_quantize(device, &c->options, c->rows, c->cols, c->source_type, source, c->source_ld, codes,
                               c->codes_ld_bytes, scales, zero_points, workspace, bytes, device_flags, NULL));
    CHECK_OK(krn_cuda_dequantize(device, &c->options, c->rows, c->cols, codes, c->codes_ld_bytes, scales, zero_points,
                                 c->target_type, target, c->target_ld, NULL));
    cuda_read(device, r.codes, codes, r.codes_bytes);
    cuda_read(device, r.scales, scales, r.scale_count * 4);
    if (zero_points != NULL)
        cuda_read(device, r.zero_points, zero_points, r.scale_count * 4);
    cuda_read(device, r.target, target, r.target_bytes);
    cuda_read(device, &flags, device_flags, sizeof flags);
    CHECK(flags == 0, "finite input set the flags %d", flags);
    cuda_free_all(device);
    return r;
}

static void compare(const quantize_case *c, krn_context *host, krn_cuda_context *device) {
    const quantize_result expected = quantize_case_run(c, host);
    quantize_result actual = run_on_device(c, device);
    /* The device reports no error. */
    actual.error = expected.error;
    quantize_case_compare(c, &expected, &actual, "the device");
    guarded_free_all();
}

static void random_cases(krn_context *host, krn_cuda_context *device) {
    test_random random = {7};
    for (int i = 0; i < 240; i++) {
        const quantize_case c = quantize_case_make(&random, i % 8 == 0 ? 6000 : 700);
        compare(&c, host, device);
    }
}

/* Every type of code with the shapes of layers: rows that are aligned, wide enough for each size of team, and too wide
 * for shared memory. */
static void layer_shapes(krn_context *host, krn_cuda_context *device) {
    static const int32_t codes[] = {KRN_TYPE_S8, KRN_TYPE_U8, KRN_TYPE_S4, KRN_TYPE_U4, KRN_TYPE_C4};
    static const int64_t shapes[][3] = {{9, 128, 0},   {3, 1024, 128}, {2, 2048, 0},
                                        {2, 4352, 64}, {1, 8448, 32},  {1, 60000, 0}};
    test_random random = {8};
    for (int type = 0; type < 5; type++) {
        for (size_t s = 0; s < sizeof shapes / sizeof shapes[0]; s++) {
            quantize_case c = quantize_case_make(&random, 64);
            guarded_free_all();
            c.options = (krn_quantize_options){
                .struct_size = sizeof c.options,
                .type = codes[type],
                .granularity = shapes[s][2] > 0 ? KRN_GRANULARITY_GROUP : KRN_GRANULARITY_TOKEN,
                .group_size = shapes[s][2],
                .asymmetric = type < 4 && s % 2 == 1,
            };
            c.rows = shapes[s][0];
            c.cols = c.source_ld = c.target_ld = shapes[s][1];
            c.codes_ld_bytes = krn_type_row_bytes(c.options.type, c.cols);
            c.source_type = KRN_TYPE_F32;
            c.target_type = type % 2 == 0 ? KRN_TYPE_F16 : KRN_TYPE_BF16;
            float *source = guarded_allocate(c.rows * c.cols * 4, c.side);
            for (int64_t i = 0; i < c.rows * c.cols; i++)
                source[i] = random_activation(&random);
            c.source = source;
            compare(&c, host, device);
        }
    }
}

/* A row that is not finite, and what is written for it and beside it. */
static void non_finite(krn_context *host, krn_cuda_context *device) {
    static const int32_t granularities[] = {KRN_GRANULARITY_TENSOR, KRN_GRANULARITY_TOKEN, KRN_GRANULARITY_GROUP};
    static const float poisons[] = {NAN, INFINITY, -INFINITY};
    enum { ROWS = 3, COLS = 70 };
    test_random random = {9};
    for (int g = 0; g < 3; g++) {
        for (int p = 0; p < 6; p++) {
            const krn_quantize_options options = {.struct_size = sizeof options,
                                                  .type = p % 2 == 0 ? KRN_TYPE_U8 : KRN_TYPE_S4,
                                                  .granularity = granularities[g],
                                                  .asymmetric = p / 3,
                                                  .group_size = p < 3 ? 17 : 32};
            float source[ROWS][COLS], scales[3 * 5], expected_scales[3 * 5];
            uint8_t codes[ROWS * COLS], expected[ROWS * COLS];
            int32_t zeros[3 * 5], expected_zeros[3 * 5], flags = 4;
            const int64_t ld = krn_type_row_bytes(options.type, COLS);
            int64_t count = 0;
            for (int i = 0; i < ROWS * COLS; i++)
                source[i / COLS][i % COLS] = random_activation(&random);
            CHECK_OK(krn_quantize_scale_count(&options, ROWS, COLS, &count));
            CHECK_OK(krn_quantize(host, &options, ROWS, COLS, KRN_TYPE_F32, source, COLS, expected, ld, expected_scales,
                                  expected_zeros, NULL));
            source[1][p * 13] = poisons[p % 3];
            const void *device_source = cuda_copy_of(device, source, sizeof source);
            uint8_t *device_codes = cuda_allocate(device, ROWS * ld);
            float *device_scales = cuda_allocate(device, count * 4);
            int32_t *device_zeros = cuda_allocate(device, count * 4);
            int32_t *device_flags = cuda_copy_of(device, &flags, sizeof flags);
            int64_t bytes = 0;
            CHECK_OK(krn_cuda_quantize_workspace_size(&options, &bytes));
            void *workspace = cuda_allocate(device, bytes);
            CHECK_OK(krn_cuda_quantize(device, &options, ROWS, COLS, KRN_TYPE_F32, device_source, COLS, device_codes,
                                       ld, device_scales, device_zeros, workspace, bytes, device_flags, NULL));
            cuda_read(device, codes, device_codes, ROWS * ld);
            cuda_read(device, scales, device_scales, count * 4);
            cuda_read(device, zeros, device_zeros, count * 4);
            cuda_read(device, &flags, device_flags, sizeof flags);
            CHECK(flags == (4 | KRN_CUDA_FLAG_NON_FINITE), "the flags are %d", flags);
            const int64_t per_row = g == 0 ? 1 : count / ROWS;
            const int32_t zero =
                options.type == KRN_TYPE_U8 ? (options.asymmetric ? 0 : 128) : (options.asymmetric ? -8 : 0);
            for (int64_t i = 0; i < count; i++) {
                const int is_bad = g == 0 || i / per_row == 1;
                CHECK(is_bad ? isnan(scales[i]) : scales[i] == expected_scales[i], "scale %lld is %g", (long long)i,
                      (double)scales[i]);
                CHECK(zeros[i] == (is_bad ? zero : expected_zeros[i]), "zero point %lld is %d", (long long)i, zeros[i]);
            }
            const uint8_t bad_code = (uint8_t)(options.type == KRN_TYPE_U8 ? zero : (zero & 15) * 0x11);
            for (int64_t i = 0; i < ROWS * ld; i++)
                CHECK(codes[i] == (g == 0 || i / ld == 1 ? bad_code : expected[i]), "byte %lld of codes is %d",
                      (long long)i, codes[i]);
            cuda_free_all(device);
        }
    }
}

static void empty(krn_cuda_context *device) {
    const krn_quantize_options options = {
        .struct_size = sizeof options, .type = KRN_TYPE_U4, .granularity = KRN_GRANULARITY_TOKEN};
    float scales[3];
    int32_t zeros[3];
    float *device_scales = cuda_allocate(device, sizeof scales);
    int32_t *device_zeros = cuda_allocate(device, sizeof zeros);
    CHECK_OK(krn_cuda_quantize(device, &options, 3, 0, KRN_TYPE_F16, NULL, 0, NULL, 0, device_scales, device_zeros,
                               NULL, 0, NULL, NULL));
    cuda_read(device, scales, device_scales, sizeof scales);
    cuda_read(device, zeros, device_zeros, sizeof zeros);
    for (int i = 0; i < 3; i++)
        CHECK(scales[i] == 0 && zeros[i] == 8, "channel %d without inputs: %g, %d", i, (double)scales[i], zeros[i]);
    CHECK_OK(
        krn_cuda_quantize(device, &options, 0, 64, KRN_TYPE_F16, NULL, 64, NULL, 32, NULL, NULL, NULL, 0, NULL, NULL));
    CHECK_OK(krn_cuda_dequantize(device, &options, 0, 64, NULL, 32, NULL, NULL, KRN_TYPE_F16, NULL, 64, NULL));
    cuda_free_all(device);
}

/* Nothing is launched: the addresses are none of the device's. */
static void arguments(krn_cuda_context *device) {
    krn_quantize_options options = {
        .struct_size = sizeof options, .type = KRN_TYPE_S8, .granularity = KRN_GRANULARITY_TENSOR};
    _Alignas(256) float source[64] = {0};
    _Alignas(256) unsigned char codes[64] = {0}, workspace[256] = {0};
    float scales[1] = {0};
    int64_t bytes = 0;
#define QUANTIZE(type, source, source_ld, codes, codes_ld, scales, workspace, bytes)                                   \
    krn_cuda_quantize(device, &options, 4, 16, type, source, source_ld, codes, codes_ld, scales, NULL, workspace,      \
                      bytes, NULL, NULL)
    CHECK_STATUS(krn_cuda_quantize(NULL, &options, 4, 16, KRN_TYPE_F32, source, 16, codes, 16, scales, NULL, workspace,
                                   256, NULL, NULL),
                 KRN_ERROR_NULL_ARGUMENT);
    CHECK_STATUS(krn_cuda_quantize(device, NULL, 4, 16, KRN_TYPE_F32, source, 16, codes, 16, scales, NULL, workspace,
                                   256, NULL, NULL),
                 KRN_ERROR_NULL_ARGUMENT);
    CHECK_STATUS(QUANTIZE(KRN_TYPE_S8, source, 16, codes, 16, scales, workspace, 256), KRN_ERROR_INVALID_ARGUMENT);
    CHECK_STATUS(QUANTIZE(KRN_TYPE_F32, NULL, 16, codes, 16, scales, workspace, 256), KRN_ERROR_NULL_ARGUMENT);
    CHECK_STATUS(QUANTIZE(KRN_TYPE_F32, source + 1, 16, codes, 16, scales, workspace, 256), KRN_ERROR_ALIGNMENT);
    CHECK_STATUS(QUANTIZE(KRN_TYPE_F32, source, 15, codes, 16, scales, workspace, 256), KRN_ERROR_LEADING_DIMENSION);
    CHECK_STATUS(QUANTIZE(KRN_TYPE_F32, source, 16, codes + 8, 16, scales, workspace, 256), KRN_ERROR_ALIGNMENT);
    CHECK_STATUS(QUANTIZE(KRN_TYPE_F32, source, 16, codes, 15, scales, workspace, 256), KRN_ERROR_LEADING_DIMENSION);
    CHECK_STATUS(QUANTIZE(KRN_TYPE_F32, source, 16, codes, 16, NULL, workspace, 256), KRN_ERROR_NULL_ARGUMENT);
    CHECK_STATUS(QUANTIZE(KRN_TYPE_F32, source, 16, codes, 16, scales, NULL, 256), KRN_ERROR_NULL_ARGUMENT);
    CHECK_STATUS(QUANTIZE(KRN_TYPE_F32, source, 16, codes, 16, scales, workspace + 64, 256), KRN_ERROR_ALIGNMENT);
    CHECK_STATUS(QUANTIZE(KRN_TYPE_F32, source, 16, codes, 16, scales, workspace, 255), KRN_ERROR_BUFFER_TOO_SMALL);
    CHECK_STATUS(krn_cuda_quantize(device, &options, -1, 16, KRN_TYPE_F32, source, 16, codes, 16, scales, NULL,
                                   workspace, 256, NULL, NULL),
                 KRN_ERROR_SHAPE);
    CHECK_STATUS(krn_cuda_quantize(device, &options, INT64_C(1) << 31, 16, KRN_TYPE_F32, source, 16, codes, 16, scales,
                                   NULL, workspace, 256, NULL, NULL),
                 KRN_ERROR_UNSUPPORTED);
    CHECK_STATUS(krn_cuda_quantize(device, &options, 4, 16, KRN_TYPE_F32, source, 16, codes, 16, scales, NULL,
                                   workspace, 256, (int32_t *)(void *)(codes + 1), NULL),
                 KRN_ERROR_ALIGNMENT);
    CHECK_STATUS(
        krn_cuda_dequantize(device, &options, 4, 16, codes, 16, scales, NULL, KRN_TYPE_F32, source + 2, 16, NULL),
        KRN_ERROR_ALIGNMENT);
    CHECK_STATUS(krn_cuda_dequantize(device, &options, 4, 16, codes, 16, scales, NULL, KRN_TYPE_S4, source, 16, NULL),
                 KRN_ERROR_INVALID_ARGUMENT);
    CHECK_STATUS(krn_cuda_quantize_workspace_size(&options, NULL), KRN_ERROR_NULL_ARGUMENT);
    CHECK_STATUS(krn_cuda_quantize_workspace_size(NULL, &bytes), KRN_ERROR_NULL_ARGUMENT);
    options.granularity = KRN_GRANULARITY_TOKEN;
    CHECK_OK(krn_cuda_quantize_workspace_size(&options, &bytes));
    CHECK(bytes == 0, "per token takes %lld bytes of workspace", (long long)bytes);
#undef QUANTIZE
}

int main(void) {
    int32_t classes[4];
    krn_context *host = context_of(KRN_ISA_REF, 1);
    const int count = cuda_classes(classes);
    for (int i = 0; i < count; i++) {
        krn_cuda_context *device = cuda_context_of(classes[i]);
        /* The kernels are the same for all classes. */
        if (i == 0) {
            random_cases(host, device);
            layer_shapes(host, device);
            non_finite(host, device);
        }
        empty(device);
        arguments(device);
        krn_cuda_context_destroy(device);
    }
    krn_context_destroy(host);
    return 0;
}
