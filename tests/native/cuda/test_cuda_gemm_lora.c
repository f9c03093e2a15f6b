/* Adapters beside the product: what they add has the bits of kernels_cpu. */
#include "cuda_gemm_check.h"
#include "gemm_oracle.h"

#include <stdlib.h>
#include <string.h>

static const int32_t formats[] = {KRN_TYPE_S8, KRN_TYPE_S4, KRN_TYPE_U4, KRN_TYPE_C4};
static const int32_t float_types[] = {KRN_TYPE_F32, KRN_TYPE_F16, KRN_TYPE_BF16};
static const int32_t computes[] = {KRN_TYPE_S8, KRN_TYPE_U8, KRN_TYPE_S4};

/* Few tokens, or more than a projection takes one by one; ragged channels, and channels by fours. */
static gemm_shape shape_of(int i) {
    return (gemm_shape){.format = formats[i % 3],
                        .activation_type = float_types[i / 3 % 3],
                        .output_type = float_types[(i + i / 9) % 3],
                        .m = i % 3 == 0   ? 2
                             : i % 3 == 1 ? 50
                                          : 66,
                        .n = i % 2 == 0 ? 44 : 37,
                        .k = 100 + 37 * (i % 5),
                        .group_size = i % 4 == 0 ? 0 : 32,
                        .has_bias = i % 2,
                        .has_residual = i % 3 == 1,
                        .slack = i % 4 == 1 ? 3 : 0,
                        .seed = 900 + (uint64_t)i};
}

/* With `compute` all of Y is the CPU's: without outlier columns, with those of the weights, with some that are found,
 * with none that are. */
static void test_compute(krn_cuda_context *device, krn_context *host) {
    static const int32_t columns[] = {0, 3, 77, 99};
    static const float thresholds[] = {0, 0, 20, 1000};
    test_random random = {11};
    for (int i = 0; i < 16; i++) {
        const gemm_shape shape = shape_of(i);
        const krn_lora lora = random_lora(&random, &shape);
        const krn_gemm_options options = {.struct_size = sizeof options,
                                          .compute = computes[(i / 4 + i) % 3],
                                          .outlier_threshold = thresholds[i % 4],
                                          .lora = &lora};
        gemm_case c = gemm_case_make(&shape);
        c.options = &options;
        if (i % 4 == 1) {
            c.outlier_columns = columns;
            c.num_outliers = 1 + i / 4 % 4;
            c.outlier_type = KRN_TYPE_F32;
        }
        cuda_gemm_check(device, host, &c);
    }
}

/* Y in f32, with an adapter or without; to be freed. */
static float *run(krn_cuda_context *device, const krn_cuda_weights *weights, const gemm_case *c, const krn_lora *lora) {
    const gemm_shape *s = &c->shape;
    krn_activations a = c->activations;
    a.data = cuda_copy_of(device, a.data, s->m * a.ld * 2 - (a.ld - s->k) * 2);
    krn_lora copy;
    krn_gemm_options options = {.struct_size = sizeof options};
    if (lora != NULL) {
        copy = cuda_lora_of(device, s, lora);
        options.lora = &copy;
    }
    const krn_gemm_output output = {
        .struct_size = sizeof output, .type = KRN_TYPE_F32, .data = cuda_allocate(device, s->m * s->n * 4), .ld = s->n};
    int64_t workspace_bytes = 0;
    CHECK_OK(krn_cuda_gemm_workspace_bytes(device, weights, a.type, &options, s->m, &workspace_bytes));
    void *workspace = cuda_allocate(device, workspace_bytes);
    CHECK_OK(krn_cuda_gemm(device, weights, s->m, &a, &output, &options, workspace, workspace_bytes, NULL, NULL));
    float *y = malloc((size_t)(s->m * s->n) * 4);
    cuda_read(device, y, output.data, s->m * s->n * 4);
    cuda_free_all(device);
    return y;
}

/* The product itself has an order of its own, but one addition lies between Y without and with an adapter. */
static void test_floats(krn_cuda_context *device, krn_context *host) {
    test_random random = {13};
    for (int i = 0; i < 12; i++) {
        gemm_shape shape = shape_of(i);
        shape.format = formats[i % 4];
        shape.activation_type = float_types[1 + i / 2 % 2];
        shape.group_size = 32;
        shape.has_bias = shape.has_residual = 0;
        const krn_lora lora = random_lora(&random, &shape);
        const gemm_case c = gemm_case_make(&shape);
        krn_weights *weights = gemm_case_pack(&c, host);
        krn_cuda_weights *device_weights = NULL;
        CHECK_OK(krn_cuda_weights_create(device, host, weights, NULL, 0, NULL, &device_weights));
        uint8_t *no_outliers = calloc((size_t)shape.k, 1);
        const float *side = side_bits(&c, no_outliers, &lora);
        float *plain = run(device, device_weights, &c, NULL), *adapted = run(device, device_weights, &c, &lora);
        for (int64_t at = 0; at < shape.m * shape.n; at++) {
            const float expected = plain[at] + side[at];
            CHECK(memcmp(&expected, &adapted[at], 4) == 0, "element %lld of m %lld n %lld k %lld rank %lld: %g, not %g",
                  (long long)at, (long long)shape.m, (long long)shape.n, (long long)shape.k, (long long)lora.rank,
                  (double)adapted[at], (double)expected);
        }
        free(no_outliers);
        free(plain);
        free(adapted);
        krn_cuda_weights_destroy(device_weights);
        krn_weights_destroy(weights);
        guarded_free_all();
    }
}

/* No inputs: an adapter adds nothing; no rows and no channels. */
static void test_nothing(krn_cuda_context *device, krn_context *host) {
    static const int64_t sizes[][3] = {{3, 5, 0}, {0, 5, 32}, {3, 0, 32}};
    test_random random = {17};
    for (int i = 0; i < 3; i++) {
        const gemm_shape shape = {.format = KRN_TYPE_S8,
                                  .activation_type = KRN_TYPE_BF16,
                                  .output_type = KRN_TYPE_F32,
                                  .m = sizes[i][0],
                                  .n = sizes[i][1],
                                  .k = sizes[i][2]};
        const krn_lora lora = random_lora(&random, &shape);
        const krn_gemm_options options = {.struct_size = sizeof options, .compute = KRN_TYPE_S8, .lora = &lora};
        gemm_case c = gemm_case_make(&shape);
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
        test_floats(device, host);
        test_nothing(device, host);
        krn_cuda_context_destroy(device);
    }
    krn_context_destroy(host);
    return 0;
}
