/* Every wrong option of krn_gemm gives the right status, names the field, and writes nothing. */
#include "check.h"

#include <math.h>
#include <string.h>

static krn_context *context;
static krn_weights *weights;

static void refuse(krn_status expected, const char *named, int32_t type, krn_gemm_options options) {
    static float x[64], scales[4], y[64];
    static _Alignas(64) uint8_t workspace[1 << 16];
    const krn_activations a = {
        .struct_size = sizeof a, .type = type, .data = x, .ld = 16, .scales = type == KRN_TYPE_S8 ? scales : NULL};
    const krn_gemm_output output = {.struct_size = sizeof output, .type = KRN_TYPE_F32, .data = y, .ld = 16};
    memset(y, 0x5A, sizeof y);
    CHECK_STATUS(krn_gemm(context, weights, 3, &a, &output, &options, workspace, sizeof workspace), expected);
    CHECK(strstr(krn_last_error(), named) != NULL, "the message does not name %s: %s", named, krn_last_error());
    for (size_t i = 0; i < sizeof y; i++)
        CHECK(((uint8_t *)y)[i] == 0x5A, "a failing call wrote Y (%s)", named);
}

static void refuse_lora(krn_status expected, const char *named, krn_lora lora) {
    refuse(expected, named, KRN_TYPE_F32, (krn_gemm_options){.struct_size = sizeof(krn_gemm_options), .lora = &lora});
}

int main(void) {
    context = context_of(KRN_ISA_AUTO, 1);
    static const int8_t codes[5 * 16];
    static const float scales[5] = {1, 1, 1, 1, 1}, a[64], b[64];
    const krn_weights_desc desc = {.struct_size = sizeof desc, .format = KRN_TYPE_S8, .n = 5, .k = 16};
    const krn_weights_source source = {
        .struct_size = sizeof source, .codes = codes, .codes_ld_bytes = 16, .scales = scales};
    CHECK_OK(krn_weights_pack(context, &desc, &source, &weights));
    const krn_gemm_options good = {.struct_size = sizeof good, .compute = KRN_TYPE_S8};
    krn_gemm_options o = good;
    o.struct_size = 8;
    refuse(KRN_ERROR_STRUCT_SIZE, "options->struct_size", KRN_TYPE_F32, o);
    o = good;
    o.reserved = 1;
    refuse(KRN_ERROR_INVALID_ARGUMENT, "options->reserved", KRN_TYPE_F32, o);
    o = good;
    o.compute = KRN_TYPE_U4;
    refuse(KRN_ERROR_INVALID_ARGUMENT, "options->compute", KRN_TYPE_F32, o);
    refuse(KRN_ERROR_INVALID_ARGUMENT, "options->compute", KRN_TYPE_S8, good);
    static const float thresholds[] = {-1, NAN, INFINITY};
    for (int i = 0; i < 3; i++) {
        o = good;
        o.outlier_threshold = thresholds[i];
        refuse(KRN_ERROR_INVALID_ARGUMENT, "options->outlier_threshold", KRN_TYPE_F32, o);
    }
    o = good;
    o.compute = 0;
    o.outlier_threshold = 6;
    refuse(KRN_ERROR_INVALID_ARGUMENT, "options->outlier_threshold", KRN_TYPE_F32, o);

    const krn_lora good_lora = {.struct_size = sizeof good_lora,
                                .type = KRN_TYPE_F32,
                                .rank = 4,
                                .a = a,
                                .a_ld = 16,
                                .b = b,
                                .b_ld = 4,
                                .scale = 1};
    o = (krn_gemm_options){.struct_size = sizeof o, .lora = &good_lora};
    refuse(KRN_ERROR_INVALID_ARGUMENT, "options->lora", KRN_TYPE_S8, o);
    krn_lora l = good_lora;
    l.struct_size = 4;
    refuse_lora(KRN_ERROR_STRUCT_SIZE, "lora->struct_size", l);
    l = good_lora;
    l.type = KRN_TYPE_S8;
    refuse_lora(KRN_ERROR_INVALID_ARGUMENT, "lora->type", l);
    l = good_lora;
    l.rank = 0;
    refuse_lora(KRN_ERROR_SHAPE, "lora->rank", l);
    l = good_lora;
    l.a = NULL;
    refuse_lora(KRN_ERROR_NULL_ARGUMENT, "lora->a", l);
    l = good_lora;
    l.b = NULL;
    refuse_lora(KRN_ERROR_NULL_ARGUMENT, "lora->b", l);
    l = good_lora;
    l.a_ld = 15;
    refuse_lora(KRN_ERROR_LEADING_DIMENSION, "lora->a_ld", l);
    l = good_lora;
    l.b_ld = 3;
    refuse_lora(KRN_ERROR_LEADING_DIMENSION, "lora->b_ld", l);
    l = good_lora;
    l.scale = INFINITY;
    refuse_lora(KRN_ERROR_NON_FINITE, "lora->scale", l);
    l = good_lora;
    l.reserved = 1;
    refuse_lora(KRN_ERROR_INVALID_ARGUMENT, "lora->reserved", l);

    int64_t bytes = 0;
    l = good_lora;
    l.rank = 1 << 30;
    o = (krn_gemm_options){.struct_size = sizeof o, .lora = &l};
    CHECK_STATUS(krn_gemm_workspace_bytes(context, weights, KRN_TYPE_F32, &o, 1 << 30, &bytes), KRN_ERROR_SHAPE);
    krn_weights_destroy(weights);
    krn_context_destroy(context);
    puts("gemm options arguments: ok");
    return 0;
}
