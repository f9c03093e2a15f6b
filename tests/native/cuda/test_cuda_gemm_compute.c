/* Float activations that the GEMM quantizes itself, with and without outlier columns of the weights, against the
 * reference of kernels_cpu, bit for bit. */
#include "cuda_gemm_check.h"

static const int32_t formats[] = {KRN_TYPE_S8, KRN_TYPE_S4, KRN_TYPE_U4};
static const int32_t float_types[] = {KRN_TYPE_F32, KRN_TYPE_F16, KRN_TYPE_BF16};
static const int32_t computes[] = {KRN_TYPE_S8, KRN_TYPE_U8, KRN_TYPE_S4};

static gemm_shape shape_of(int i) {
    return (gemm_shape){.format = formats[i % 3],
                        .activation_type = float_types[i / 3 % 3],
                        .output_type = float_types[(i + i / 9) % 3],
                        .m = i % 2 == 0 ? 5 : 50,
                        .n = 44 - i % 3,
                        .k = 150 + i,
                        .group_size = i % 4 == 0 ? 0 : 32,
                        .has_bias = i % 2,
                        .has_residual = i % 3 == 1,
                        .slack = i % 5,
                        .seed = 500 + (uint64_t)i,
                        .zero_type = i % 6 == 5 ? KRN_TYPE_F32 : 0,
                        .ordered = i % 7 == 3};
}

static void test_compute(krn_cuda_context *device, krn_context *host) {
    for (int i = 0; i < 27; i++) {
        const gemm_shape shape = shape_of(i);
        gemm_case c = gemm_case_make(&shape);
        const krn_gemm_options options = {.struct_size = sizeof options, .compute = computes[(i / 9 + i) % 3]};
        c.options = &options;
        cuda_gemm_check(device, host, &c);
    }
}

/* Outlier columns with weights of their own, and with those of the codes. */
static void test_outliers(krn_cuda_context *device, krn_context *host) {
    static const int32_t columns[] = {0, 3, 77, 149};
    static float weights[44 * 4];
    test_random random = {7};
    for (int i = 0; i < 44 * 4; i++)
        weights[i] = random_activation(&random);
    for (int i = 0; i < 18; i++) {
        const gemm_shape shape = shape_of(i);
        gemm_case c = gemm_case_make(&shape);
        const krn_gemm_options options = {.struct_size = sizeof options, .compute = computes[i % 3]};
        c.options = &options;
        c.outlier_columns = columns;
        c.num_outliers = 1 + i % 4;
        c.outlier_type = KRN_TYPE_F32;
        c.outlier_weights = i % 2 == 0 ? weights : NULL;
        cuda_gemm_check(device, host, &c);
    }
}

/* Columns that hold a value above a threshold: some, none, nearly all. */
static void test_threshold(krn_cuda_context *device, krn_context *host) {
    static const float thresholds[] = {20, 1000, 0.5f};
    for (int i = 0; i < 27; i++) {
        gemm_shape shape = shape_of(i);
        shape.scale_type = i % 4 == 1 ? KRN_TYPE_F16 : 0;
        shape.k = i % 5 == 0 ? 600 : shape.k;
        gemm_case c = gemm_case_make(&shape);
        const krn_gemm_options options = {.struct_size = sizeof options,
                                          .compute = computes[(i / 9 + i) % 3],
                                          .outlier_threshold = thresholds[i / 3 % 3]};
        c.options = &options;
        cuda_gemm_check(device, host, &c);
    }
}

int main(void) {
    int32_t classes[4];
    const int count = cuda_classes(classes);
    krn_context *host = context_of(KRN_ISA_REF, 1);
    for (int i = 0; i < count; i++) {
        krn_cuda_context *device = cuda_context_of(classes[i]);
        test_compute(device, host);
        test_outliers(device, host);
        test_threshold(device, host);
        krn_cuda_context_destroy(device);
    }
    krn_context_destroy(host);
    return 0;
}
