#include "cuda_gemm_float_check.h"

#include "common/half.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static int64_t tensor_bytes(int64_t rows, int64_t width, int64_t ld, int32_t type) {
    return rows == 0 ? 0 : krn_type_row_bytes(type, ld) * (rows - 1) + krn_type_row_bytes(type, width);
}

/* Rounds the codebook to the type of the activations, as the kernels do: packed weights keep the codebook as it was. */
static void round_codebook(gemm_case *c) {
    const int is_f16 = c->shape.activation_type == KRN_TYPE_F16;
    for (int i = 0; c->codebook != NULL && i < 16; i++)
        c->codebook[i] =
            is_f16 ? krn_f16_to_f32(krn_f32_to_f16(c->codebook[i])) : krn_bf16_to_f32(krn_f32_to_bf16(c->codebook[i]));
}

/* The bound of cuda_gemm.h in units of 2^-24: a product of 16 inputs costs a device 40, and the emulator, which rounds
 * it once, 1. */
static double bound_of(const gemm_case *c) {
    const char *device = getenv("KRN_CUDA_TEST_DEVICE");
    const double product = device != NULL && strcmp(device, "driver") == 0 ? 40 : 1;
    const int64_t group = c->group == 0 ? 1 : c->group, longest = group < 128 ? group : 128;
    const int64_t groups = c->num_groups * (c->shape.flattened ? 5 : 1), blocks = groups * ((group + 127) / 128);
    return product * (double)(2 * ((longest + 31) / 32)) + (double)(blocks + groups) + 8;
}

static void check_output(const gemm_case *c, const uint8_t *y) {
    const gemm_shape *s = &c->shape;
    /* The output's rounding, and the least that it can represent. */
    const double rounding = s->output_type == KRN_TYPE_F32 ? 0 : s->output_type == KRN_TYPE_F16 ? 0x1p-11 : 0x1p-8;
    const int64_t elem = type_bytes(s->output_type), count = s->m == 0 ? 0 : (s->m - 1) * c->ld + s->n;
    for (int64_t at = 0; at < count; at++) {
        const int64_t m = at / c->ld, n = at % c->ld;
        /* Of large cases some rows, and the last: the oracle takes longer than the emulator. */
        if (s->m > 1000 && m % 29 != 0 && m < s->m - 8)
            continue;
        if (n >= s->n) {
            const uint8_t *padding = c->residual != NULL && s->residual_is_output ? c->residual : NULL;
            for (int64_t i = 0; i < elem; i++)
                CHECK(y[at * elem + i] == (padding != NULL ? padding[at * elem + i] : 0xA5), "padding of row %lld",
                      (long long)m);
            continue;
        }
        double magnitude, side;
        const double exact = float_oracle(c, m, n, 0, &magnitude, &side);
        const double error = bound_of(c) * 0x1p-24 * magnitude;
        const double bound = error + rounding * (fabs(exact) + error) + 0x1p-25 * (s->output_type == KRN_TYPE_F16);
        const double value = float_element(s->output_type, y, at);
        CHECK(fabs(value - exact) <= bound,
              "row %lld, column %lld of format %d, activations %d, output %d, m %lld n %lld k %lld group %lld: %g, not "
              "%g within %g",
              (long long)m, (long long)n, s->format, s->activation_type, s->output_type, (long long)s->m,
              (long long)s->n, (long long)s->k, (long long)s->group_size, value, exact, bound);
    }
}

/* Runs rows of a case, and gives Y, to be freed. */
static uint8_t *run(krn_cuda_context *device, const krn_cuda_weights *weights, const gemm_case *c, int64_t m) {
    const gemm_shape *s = &c->shape;
    krn_activations a = c->activations;
    a.data = cuda_copy_of(device, a.data, tensor_bytes(m, s->k, a.ld, a.type));
    const int64_t y_bytes = tensor_bytes(m, s->n, c->ld, s->output_type);
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
    int64_t workspace_bytes = -1;
    CHECK_OK(krn_cuda_gemm_workspace_bytes(device, weights, a.type, NULL, m, &workspace_bytes));
    void *workspace = cuda_allocate(device, workspace_bytes);
    CHECK_OK(krn_cuda_gemm(device, weights, m, &a, &output, NULL, workspace, workspace_bytes, NULL, NULL));
    uint8_t *y = malloc((size_t)y_bytes + 1);
    cuda_read(device, y, output.data, y_bytes);
    cuda_free_all(device);
    return y;
}

void cuda_gemm_float_check(krn_cuda_context *device, krn_context *host, const gemm_shape *shape, int64_t few) {
    gemm_case c = gemm_case_make(shape);
    krn_weights *weights = gemm_case_pack(&c, host);
    krn_cuda_weights *device_weights = NULL;
    CHECK_OK(krn_cuda_weights_create(device, host, weights, NULL, 0, NULL, &device_weights));
    round_codebook(&c);
    uint8_t *y = run(device, device_weights, &c, shape->m);
    check_output(&c, y);
    if (few > 0) {
        uint8_t *first = run(device, device_weights, &c, few);
        const int64_t bytes = tensor_bytes(few, shape->n, c.ld, shape->output_type);
        CHECK(memcmp(first, y, (size_t)bytes) == 0, "%lld rows differ from the first of %lld, format %d, k %lld",
              (long long)few, (long long)shape->m, shape->format, (long long)shape->k);
        free(first);
    }
    free(y);
    krn_cuda_weights_destroy(device_weights);
    krn_weights_destroy(weights);
    guarded_free_all();
}
