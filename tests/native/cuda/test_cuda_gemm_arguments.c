/* What the GEMM on the device refuses, by name and without a launch. */
#include "cuda_device.h"
#include "gemm_case.h"

#include <string.h>

enum { M = 3, N = 20, K = 64 };

typedef struct {
    krn_cuda_context *device, *other;
    krn_cuda_weights *weights;
    krn_activations a;
    krn_gemm_output y;
    krn_gemm_options options;
    void *workspace;
    int64_t workspace_bytes;
    int64_t m;
} call;

static krn_status run(const call *c) {
    return krn_cuda_gemm(c->device, c->weights, c->m, &c->a, &c->y, &c->options, c->workspace, c->workspace_bytes, NULL,
                         NULL);
}

/* Runs with one thing changed; the sentence must name it. */
#define REFUSES(change, status, name)                                                                                  \
    do {                                                                                                               \
        call bad = good;                                                                                               \
        change;                                                                                                        \
        CHECK_STATUS(run(&bad), status);                                                                               \
        CHECK(strstr(krn_last_error(), name) != NULL, "'%s' does not name %s", krn_last_error(), name);                \
    } while (0)

static void refuses_arguments(call good) {
    char *const bytes = (char *)good.y.data;
    const krn_activations integers = good.a;
    REFUSES(bad.device = NULL, KRN_ERROR_NULL_ARGUMENT, "context");
    REFUSES(bad.weights = NULL, KRN_ERROR_NULL_ARGUMENT, "weights");
    REFUSES(bad.m = -1, KRN_ERROR_SHAPE, "m is");
    REFUSES(bad.m = INT64_C(1) << 31, KRN_ERROR_SHAPE, "m is");
    REFUSES(bad.a.struct_size = 1, KRN_ERROR_STRUCT_SIZE, "activations");
    REFUSES(bad.a.type = KRN_TYPE_U4, KRN_ERROR_UNSUPPORTED, "activation_type");
    REFUSES(bad.a.type = KRN_TYPE_F8E4M3, KRN_ERROR_UNSUPPORTED, "activation_type");
    REFUSES(bad.a.type = KRN_TYPE_F32, KRN_ERROR_UNSUPPORTED, "KRN_TYPE_F32");
    REFUSES(bad.a.type = KRN_TYPE_BF16, KRN_ERROR_INVALID_ARGUMENT, "activations->scales");
    REFUSES(bad.a.ld = K - 1, KRN_ERROR_LEADING_DIMENSION, "activations->ld");
    REFUSES(bad.a.data = NULL, KRN_ERROR_NULL_ARGUMENT, "activations->data");
    REFUSES(bad.a.data = (const char *)bad.a.data + 8, KRN_ERROR_ALIGNMENT, "activations->data");
    REFUSES(bad.a.scales = NULL, KRN_ERROR_NULL_ARGUMENT, "activations->scales");
    REFUSES(bad.a.scales = (const float *)(const void *)(bytes + 2), KRN_ERROR_ALIGNMENT, "activations->scales");
    REFUSES(bad.a.zero_points = (const int32_t *)bad.a.scales, KRN_ERROR_INVALID_ARGUMENT, "activations->zero_points");
    REFUSES(bad.y.struct_size = 1, KRN_ERROR_STRUCT_SIZE, "output");
    REFUSES(bad.y.type = KRN_TYPE_S8, KRN_ERROR_INVALID_ARGUMENT, "output->type");
    REFUSES(bad.y.ld = N - 1, KRN_ERROR_LEADING_DIMENSION, "output->ld");
    REFUSES(bad.y.data = NULL, KRN_ERROR_NULL_ARGUMENT, "output->data");
    REFUSES(bad.y.data = bytes + 4, KRN_ERROR_ALIGNMENT, "output->data");
    REFUSES(bad.y.bias = (const float *)(const void *)(bytes + 4), KRN_ERROR_ALIGNMENT, "output->bias");
    REFUSES((bad.y.residual = bytes, bad.y.residual_ld = N + 1), KRN_ERROR_LEADING_DIMENSION, "output->residual");
    REFUSES((bad.y.residual = bytes + 16, bad.y.residual_ld = N - 1), KRN_ERROR_LEADING_DIMENSION, "residual_ld");
    REFUSES((bad.y.residual = bytes + 4, bad.y.residual_ld = N), KRN_ERROR_ALIGNMENT, "output->residual");
    REFUSES(bad.options.struct_size = 0, KRN_ERROR_STRUCT_SIZE, "options");
    REFUSES(bad.options.reserved = 1, KRN_ERROR_INVALID_ARGUMENT, "options->reserved");
    REFUSES(bad.options.compute = KRN_TYPE_S8, KRN_ERROR_INVALID_ARGUMENT, "options->compute");
    REFUSES(bad.options.compute = KRN_TYPE_U4, KRN_ERROR_INVALID_ARGUMENT, "options->compute");
    REFUSES(bad.options.outlier_threshold = 6, KRN_ERROR_INVALID_ARGUMENT, "options->outlier_threshold");
    REFUSES(bad.options.outlier_threshold = -1, KRN_ERROR_INVALID_ARGUMENT, "options->outlier_threshold");
    REFUSES(bad.workspace_bytes--, KRN_ERROR_BUFFER_TOO_SMALL, "workspace_bytes");
    REFUSES(bad.workspace = NULL, KRN_ERROR_NULL_ARGUMENT, "workspace");
    REFUSES(bad.workspace = (char *)bad.workspace + 64, KRN_ERROR_ALIGNMENT, "workspace");
    REFUSES(bad.device = bad.other, KRN_ERROR_INVALID_ARGUMENT, "weights");
    krn_lora lora = {.struct_size = sizeof lora, .type = KRN_TYPE_F16, .rank = 4, .a = bytes, .a_ld = K, .b = bytes};
    REFUSES(bad.options.lora = &lora, KRN_ERROR_INVALID_ARGUMENT, "options->lora");
    good.a.type = KRN_TYPE_BF16;
    good.a.scales = NULL;
    good.options.lora = &lora;
    REFUSES(bad.workspace = NULL, KRN_ERROR_LEADING_DIMENSION, "options->lora->b_ld");
    lora.b_ld = 4;
    REFUSES(lora.rank = 1 << 17, KRN_ERROR_UNSUPPORTED, "options->lora->rank");
    lora.rank = 4;
    REFUSES(lora.a = bytes + 2, KRN_ERROR_ALIGNMENT, "options->lora->a");
    lora.a = bytes;
    REFUSES(lora.b = bytes + 2, KRN_ERROR_ALIGNMENT, "options->lora->b");
    good.options.lora = NULL;
    good.a = integers;
    CHECK_STATUS(krn_cuda_gemm(good.device, good.weights, M, NULL, &good.y, NULL, NULL, 0, NULL, NULL),
                 KRN_ERROR_NULL_ARGUMENT);
    CHECK_STATUS(krn_cuda_gemm(good.device, good.weights, M, &good.a, NULL, NULL, NULL, 0, NULL, NULL),
                 KRN_ERROR_NULL_ARGUMENT);
    CHECK_STATUS(krn_cuda_gemm_workspace_bytes(good.device, good.weights, KRN_TYPE_S8, NULL, M, NULL),
                 KRN_ERROR_NULL_ARGUMENT);
    CHECK_OK(run(&good));
    CHECK_OK(krn_cuda_stream_synchronize(good.device, NULL));
}

static void refuses_weights(const call *good, krn_context *host, const krn_weights *weights) {
    krn_cuda_context *device = good->device;
    krn_cuda_weights *result = NULL;
    int64_t bytes = 0;
    CHECK_STATUS(krn_cuda_weights_bytes(NULL, &bytes), KRN_ERROR_NULL_ARGUMENT);
    CHECK_STATUS(krn_cuda_weights_bytes(weights, NULL), KRN_ERROR_NULL_ARGUMENT);
    CHECK_OK(krn_cuda_weights_bytes(weights, &bytes));
    CHECK(bytes == krn_cuda_weights_device_bytes(good->weights) && krn_cuda_weights_device_bytes(NULL) == 0, "bytes");
    void *memory = cuda_allocate(device, bytes + 256);
    CHECK_STATUS(krn_cuda_weights_create(NULL, host, weights, NULL, 0, NULL, &result), KRN_ERROR_NULL_ARGUMENT);
    CHECK_STATUS(krn_cuda_weights_create(device, NULL, weights, NULL, 0, NULL, &result), KRN_ERROR_NULL_ARGUMENT);
    CHECK_STATUS(krn_cuda_weights_create(device, host, NULL, NULL, 0, NULL, &result), KRN_ERROR_NULL_ARGUMENT);
    CHECK_STATUS(krn_cuda_weights_create(device, host, weights, NULL, 0, NULL, NULL), KRN_ERROR_NULL_ARGUMENT);
    CHECK_STATUS(krn_cuda_weights_create(device, host, weights, memory, bytes - 1, NULL, &result),
                 KRN_ERROR_BUFFER_TOO_SMALL);
    CHECK_STATUS(krn_cuda_weights_create(device, host, weights, (char *)memory + 64, bytes, NULL, &result),
                 KRN_ERROR_ALIGNMENT);
    CHECK(result == NULL, "a failing call wrote its output");
    CHECK_OK(krn_cuda_weights_create(device, host, weights, memory, bytes, NULL, &result));
    krn_weights_desc desc = {.struct_size = sizeof desc};
    CHECK_OK(krn_cuda_weights_describe(result, &desc));
    CHECK(desc.n == N && desc.k == K && desc.format == KRN_TYPE_S4, "description");
    CHECK_STATUS(krn_cuda_weights_describe(NULL, &desc), KRN_ERROR_NULL_ARGUMENT);
    CHECK_STATUS(krn_cuda_weights_describe(result, NULL), KRN_ERROR_NULL_ARGUMENT);
    desc.struct_size = 3;
    CHECK_STATUS(krn_cuda_weights_describe(result, &desc), KRN_ERROR_STRUCT_SIZE);
    krn_cuda_weights_destroy(result);
    krn_cuda_weights_destroy(NULL);
}

int main(void) {
    int32_t classes[4];
    cuda_classes(classes);
    krn_context *host = context_of(KRN_ISA_REF, 1);
    const gemm_shape shape = {.format = KRN_TYPE_S4,
                              .activation_type = KRN_TYPE_S8,
                              .output_type = KRN_TYPE_F32,
                              .m = M,
                              .n = N,
                              .k = K,
                              .group_size = 32};
    const gemm_case c = gemm_case_make(&shape);
    krn_weights *weights = gemm_case_pack(&c, host);
    call good = {.device = cuda_context_of(classes[0]), .other = cuda_context_of(classes[0]), .m = M};
    CHECK_OK(krn_cuda_weights_create(good.device, host, weights, NULL, 0, NULL, &good.weights));
    good.a = c.activations;
    good.a.data = cuda_copy_of(good.device, c.activations.data, M * K);
    good.a.scales = cuda_copy_of(good.device, c.activations.scales, M * 4);
    good.y = (krn_gemm_output){
        .struct_size = sizeof good.y, .type = KRN_TYPE_F32, .data = cuda_allocate(good.device, M * N * 4), .ld = N};
    good.options.struct_size = sizeof good.options;
    CHECK_OK(krn_cuda_gemm_workspace_bytes(good.device, good.weights, KRN_TYPE_S8, NULL, M, &good.workspace_bytes));
    good.workspace = cuda_allocate(good.device, good.workspace_bytes);

    refuses_arguments(good);
    refuses_weights(&good, host, weights);
    CHECK(krn_cuda_gemm_supported(NULL, KRN_TYPE_S8, KRN_TYPE_S8, 0) == 0, "support without a context");
    CHECK(krn_cuda_gemm_supported(good.device, KRN_TYPE_S8, KRN_TYPE_S8, 0) == 1, "W8A8");
    CHECK(krn_cuda_gemm_supported(good.device, KRN_TYPE_C4, KRN_TYPE_S8, 0) == 0, "codebooks have no integers");
    CHECK(krn_cuda_gemm_supported(good.device, 99, KRN_TYPE_S8, 0) == 0, "a format that is none");

    cuda_free_all(good.device);
    krn_cuda_weights_destroy(good.weights);
    krn_cuda_context_destroy(good.device);
    krn_cuda_context_destroy(good.other);
    krn_weights_destroy(weights);
    guarded_free_all();
    krn_context_destroy(host);
    return 0;
}
