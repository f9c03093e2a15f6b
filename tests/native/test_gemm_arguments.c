/* Every misuse of krn_gemm gives the right status, names the argument, and writes nothing. */
#include "check.h"

#include <string.h>

enum { M = 3, N = 5, K = 16 };

static krn_context *context;
static krn_weights *weights;
static int8_t x[M * K];
static float x_scales[M];
static int32_t x_zeros[M];
static float y[M * N];
static _Alignas(64) uint8_t workspace[4096];

static krn_activations good_activations(void) {
    return (krn_activations){
        .struct_size = sizeof(krn_activations), .type = KRN_TYPE_S8, .data = x, .ld = K, .scales = x_scales};
}

static krn_gemm_output good_output(void) {
    return (krn_gemm_output){.struct_size = sizeof(krn_gemm_output), .type = KRN_TYPE_F32, .data = y, .ld = N};
}

/* Runs the call and checks the status, the message and that Y is untouched. */
static void refuse(krn_status expected, const char *named, int64_t m, const krn_activations *a,
                   const krn_gemm_output *o, void *space, int64_t space_bytes) {
    memset(y, 0x5A, sizeof y);
    CHECK_STATUS(krn_gemm(context, weights, m, a, o, NULL, space, space_bytes), expected);
    CHECK(strstr(krn_last_error(), named) != NULL, "the message does not name %s: %s", named, krn_last_error());
    for (size_t i = 0; i < sizeof y; i++)
        CHECK(((uint8_t *)y)[i] == 0x5A, "a failing call wrote Y (%s)", named);
}

static void refuse_activations(krn_status expected, const char *named, krn_activations a) {
    const krn_gemm_output o = good_output();
    refuse(expected, named, M, &a, &o, workspace, sizeof workspace);
}

static void refuse_output(krn_status expected, const char *named, krn_gemm_output o) {
    const krn_activations a = good_activations();
    refuse(expected, named, M, &a, &o, workspace, sizeof workspace);
}

int main(void) {
    static const int8_t codes[N * K];
    static const float scales[N] = {1, 1, 1, 1, 1};
    context = context_of(KRN_ISA_AUTO, 1);
    const krn_weights_desc desc = {.struct_size = sizeof desc, .format = KRN_TYPE_S8, .n = N, .k = K};
    const krn_weights_source source = {
        .struct_size = sizeof source, .codes = codes, .codes_ld_bytes = K, .scales = scales};
    CHECK_OK(krn_weights_pack(context, &desc, &source, &weights));

    krn_activations a = good_activations();
    krn_gemm_output o = good_output();
    CHECK_OK(krn_gemm(context, weights, M, &a, &o, NULL, workspace, sizeof workspace));
    CHECK_OK(krn_gemm(context, weights, 0, &a, &o, NULL, NULL, 0));
    CHECK_STATUS(krn_gemm(NULL, weights, M, &a, &o, NULL, workspace, sizeof workspace), KRN_ERROR_NULL_ARGUMENT);
    CHECK_STATUS(krn_gemm(context, NULL, M, &a, &o, NULL, workspace, sizeof workspace), KRN_ERROR_NULL_ARGUMENT);
    refuse(KRN_ERROR_NULL_ARGUMENT, "activations", M, NULL, &o, workspace, sizeof workspace);
    refuse(KRN_ERROR_NULL_ARGUMENT, "output", M, &a, NULL, workspace, sizeof workspace);
    refuse(KRN_ERROR_SHAPE, "m is", -1, &a, &o, workspace, sizeof workspace);
    refuse(KRN_ERROR_SHAPE, "m is", INT64_MAX, &a, &o, workspace, sizeof workspace);
    refuse(KRN_ERROR_NULL_ARGUMENT, "workspace", M, &a, &o, NULL, sizeof workspace);
    refuse(KRN_ERROR_BUFFER_TOO_SMALL, "workspace_bytes", M, &a, &o, workspace, 63);
    refuse(KRN_ERROR_ALIGNMENT, "workspace", M, &a, &o, workspace + 4, sizeof workspace - 4);

    a = good_activations();
    a.struct_size = 4;
    refuse_activations(KRN_ERROR_STRUCT_SIZE, "struct_size", a);
    a = good_activations();
    a.type = KRN_TYPE_U4;
    refuse_activations(KRN_ERROR_UNSUPPORTED, "activation_type", a);
    a = good_activations();
    a.type = -1;
    refuse_activations(KRN_ERROR_UNSUPPORTED, "activation_type", a);
    a = good_activations();
    a.data = NULL;
    refuse_activations(KRN_ERROR_NULL_ARGUMENT, "data", a);
    a = good_activations();
    a.ld = K - 1;
    refuse_activations(KRN_ERROR_LEADING_DIMENSION, "ld", a);
    a = good_activations();
    a.scales = NULL;
    refuse_activations(KRN_ERROR_NULL_ARGUMENT, "scales", a);
    a = good_activations();
    a.zero_points = x_zeros;
    refuse_activations(KRN_ERROR_INVALID_ARGUMENT, "zero_points", a);
    a = good_activations();
    a.type = KRN_TYPE_U8;
    refuse_activations(KRN_ERROR_NULL_ARGUMENT, "zero_points", a);
    a.zero_points = x_zeros;
    x_zeros[M - 1] = 256;
    refuse_activations(KRN_ERROR_INVALID_ARGUMENT, "zero_points", a);
    a = good_activations();
    a.type = KRN_TYPE_F32;
    refuse_activations(KRN_ERROR_INVALID_ARGUMENT, "scales", a);

    o = good_output();
    o.struct_size = 4;
    refuse_output(KRN_ERROR_STRUCT_SIZE, "struct_size", o);
    o = good_output();
    o.type = KRN_TYPE_S8;
    refuse_output(KRN_ERROR_INVALID_ARGUMENT, "type", o);
    o = good_output();
    o.data = NULL;
    refuse_output(KRN_ERROR_NULL_ARGUMENT, "data", o);
    o = good_output();
    o.ld = N - 1;
    refuse_output(KRN_ERROR_LEADING_DIMENSION, "ld", o);
    o = good_output();
    o.residual = x_scales;
    o.residual_ld = N - 1;
    refuse_output(KRN_ERROR_LEADING_DIMENSION, "residual_ld", o);
    o = good_output();
    o.residual = y;
    o.residual_ld = N + 1;
    refuse_output(KRN_ERROR_LEADING_DIMENSION, "residual_ld", o);

    int64_t bytes = 0;
    CHECK_STATUS(krn_gemm_workspace_bytes(context, weights, KRN_TYPE_S8, NULL, M, NULL), KRN_ERROR_NULL_ARGUMENT);
    CHECK_STATUS(krn_gemm_workspace_bytes(context, weights, KRN_TYPE_U4, NULL, M, &bytes), KRN_ERROR_UNSUPPORTED);
    CHECK(krn_gemm_supported(context, KRN_TYPE_S8, KRN_TYPE_S8, 0) == 1, "the main cell is not supported");
    CHECK(krn_gemm_supported(context, KRN_TYPE_F32, KRN_TYPE_S8, 0) == 0, "f32 weights are supported");
    CHECK(krn_gemm_supported(context, KRN_TYPE_S4, KRN_TYPE_BF16, KRN_TYPE_U8) == 1, "bf16 to u8 is not supported");
    CHECK(krn_gemm_supported(context, KRN_TYPE_S8, KRN_TYPE_S8, KRN_TYPE_S8) == 0, "s8 to s8 is supported");
    CHECK(krn_gemm_supported(context, KRN_TYPE_S8, KRN_TYPE_F32, KRN_TYPE_BF16) == 0, "f32 to bf16 is supported");
    CHECK(krn_gemm_supported(context, KRN_TYPE_S8, KRN_TYPE_F32, -1) == 0, "compute -1 is supported");
    CHECK(krn_gemm_supported(NULL, KRN_TYPE_S8, KRN_TYPE_S8, 0) == 0 &&
              krn_gemm_variant(NULL, KRN_TYPE_S8, KRN_TYPE_S8, 0) == NULL,
          "NULL context");
    CHECK(krn_gemm_variant(context, 1000, KRN_TYPE_S8, 0) == NULL, "unknown format");
    krn_weights_destroy(weights);
    krn_context_destroy(context);
    puts("gemm arguments: ok");
    return 0;
}
