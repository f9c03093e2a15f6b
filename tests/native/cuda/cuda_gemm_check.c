#include "cuda_gemm_check.h"

#include <stdlib.h>
#include <string.h>

static int64_t tensor_bytes(int64_t rows, int64_t width, int64_t ld, int32_t type) {
    return rows == 0 ? 0 : krn_type_row_bytes(type, ld) * (rows - 1) + krn_type_row_bytes(type, width);
}

/* Y as it is expected, with what lies around it. */
static void check_output(const gemm_case *c, const void *expected, const void *y) {
    const gemm_shape *s = &c->shape;
    const int64_t bytes = tensor_bytes(s->m, s->n, c->ld, s->output_type), elem = type_bytes(s->output_type);
    for (int64_t i = 0; i < bytes; i++) {
        const int64_t at = i / elem;
        CHECK(((const uint8_t *)expected)[i] == ((const uint8_t *)y)[i],
              "row %lld, column %lld of format %d, activations %d, output %d, m %lld n %lld k %lld group %lld: %g, not "
              "%g",
              (long long)(at / c->ld), (long long)(at % c->ld), s->format, s->activation_type, s->output_type,
              (long long)s->m, (long long)s->n, (long long)s->k, (long long)s->group_size,
              float_element(s->output_type, y, at), float_element(s->output_type, expected, at));
    }
}

krn_lora cuda_lora_of(krn_cuda_context *device, const gemm_shape *s, const krn_lora *lora) {
    krn_lora copy = *lora;
    copy.a = cuda_copy_of(device, lora->a, tensor_bytes(s->k == 0 ? 0 : lora->rank, s->k, lora->a_ld, lora->type));
    copy.b = cuda_copy_of(device, lora->b, tensor_bytes(s->n, lora->rank, lora->b_ld, lora->type));
    return copy;
}

void cuda_gemm_check(krn_cuda_context *device, krn_context *host, const gemm_case *c) {
    const gemm_shape *s = &c->shape;
    krn_weights *weights = gemm_case_pack(c, host);
    krn_cuda_weights *device_weights = NULL;
    CHECK_OK(krn_cuda_weights_create(device, host, weights, NULL, 0, NULL, &device_weights));
    const void *expected = gemm_case_run(c, host, weights, 0, s->m);

    krn_activations a = c->activations;
    a.data = cuda_copy_of(device, a.data, tensor_bytes(s->m, s->k, a.ld, a.type));
    if (a.scales != NULL)
        a.scales = cuda_copy_of(device, a.scales, s->m * 4);
    if (a.zero_points != NULL)
        a.zero_points = cuda_copy_of(device, a.zero_points, s->m * 4);
    const int64_t y_bytes = tensor_bytes(s->m, s->n, c->ld, s->output_type);
    krn_gemm_output output = {.struct_size = sizeof output,
                              .type = s->output_type,
                              .data = cuda_allocate(device, y_bytes),
                              .ld = c->ld,
                              .residual_ld = c->ld};
    if (c->bias != NULL)
        output.bias = cuda_copy_of(device, c->bias, s->n * 4);
    if (c->residual != NULL && s->residual_is_output && y_bytes > 0) {
        CHECK_OK(krn_cuda_memory_copy_to_device(device, output.data, c->residual, y_bytes, NULL));
        output.residual = output.data;
    } else if (c->residual != NULL) {
        output.residual = cuda_copy_of(device, c->residual, y_bytes);
    }
    krn_gemm_options options = {.struct_size = sizeof options};
    krn_lora lora;
    if (c->options != NULL)
        options = *c->options;
    if (options.lora != NULL) {
        lora = cuda_lora_of(device, s, options.lora);
        options.lora = &lora;
    }
    int64_t workspace_bytes = -1;
    CHECK_OK(krn_cuda_gemm_workspace_bytes(device, device_weights, a.type, &options, s->m, &workspace_bytes));
    void *workspace = cuda_allocate(device, workspace_bytes);
    CHECK_OK(
        krn_cuda_gemm(device, device_weights, s->m, &a, &output, &options, workspace, workspace_bytes, NULL, NULL));
    uint8_t *y = malloc((size_t)y_bytes + 1);
    cuda_read(device, y, output.data, y_bytes);
    check_output(c, expected, y);
    free(y);
    cuda_free_all(device);
    krn_cuda_weights_destroy(device_weights);
    krn_weights_destroy(weights);
    guarded_free_all();
}
