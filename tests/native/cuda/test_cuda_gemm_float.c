/* The float cells of the GEMM on the device against the exact value in binary64, within the bound of cuda_gemm.h: every
 * format, option and path over ragged shapes; and that a row has the same bits on both paths, at any place. */
#include "cuda_device.h"
#include "gemm_case.h"

#include "common/half.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static const int32_t formats[] = {KRN_TYPE_S8, KRN_TYPE_S4, KRN_TYPE_U4, KRN_TYPE_C4};
static const int32_t activation_types[] = {KRN_TYPE_BF16, KRN_TYPE_F16};
static const int32_t output_types[] = {KRN_TYPE_F32, KRN_TYPE_F16, KRN_TYPE_BF16};
static const int32_t scale_types[] = {0, KRN_TYPE_F16, KRN_TYPE_BF16, KRN_TYPE_U8};

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

static void check(krn_cuda_context *device, krn_context *host, const gemm_shape *shape) {
    gemm_case c = gemm_case_make(shape);
    krn_weights *weights = gemm_case_pack(&c, host);
    krn_cuda_weights *device_weights = NULL;
    CHECK_OK(krn_cuda_weights_create(device, host, weights, NULL, 0, NULL, &device_weights));
    round_codebook(&c);
    uint8_t *y = run(device, device_weights, &c, shape->m);
    check_output(&c, y);
    if (shape->m > 16) {
        uint8_t *few = run(device, device_weights, &c, 3);
        const int64_t bytes = tensor_bytes(3, shape->n, c.ld, shape->output_type);
        CHECK(memcmp(few, y, (size_t)bytes) == 0, "3 rows differ from the first of %lld, format %d, k %lld",
              (long long)shape->m, shape->format, (long long)shape->k);
        free(few);
    }
    free(y);
    krn_cuda_weights_destroy(device_weights);
    krn_weights_destroy(weights);
    guarded_free_all();
}

typedef struct {
    int64_t m, n, k, group_size;
} size;

static void test_sizes(krn_cuda_context *device, krn_context *host, const size *sizes, int count) {
    for (int i = 0; i < count * 8; i++) {
        const size *s = &sizes[i / 8];
        const gemm_shape shape = {.format = formats[i % 4],
                                  .activation_type = activation_types[i / 4 % 2],
                                  .output_type = output_types[(i + i / 8) % 3],
                                  .m = s->m,
                                  .n = s->n,
                                  .k = s->k,
                                  .group_size = s->group_size,
                                  .has_bias = i % 2,
                                  .has_residual = i % 5 < 2,
                                  .residual_is_output = i % 5 == 1,
                                  .slack = i % 3 == 0 ? 0 : i % 7,
                                  .seed = 600 + (uint64_t)i,
                                  .scale_type = scale_types[(i + i / 8) % 4]};
        check(device, host, &shape);
    }
}

/* Few tokens: pieces of 1 to 4 steps, in the middle of a unit, filled up; several chunks. */
static void test_decode(krn_cuda_context *device, krn_context *host) {
    static const size sizes[] = {{1, 64, 128, 0},   {1, 16, 256, 128},  {8, 65, 512, 64}, {3, 33, 360, 32},
                                 {5, 20, 300, 0},   {16, 40, 384, 128}, {9, 70, 96, 16},  {2, 17, 400, 96},
                                 {7, 48, 640, 256}, {1, 16, 100, 40},   {1, 1, 1, 0},     {2, 16, 960, 480},
                                 {1, 16, 8192, 64}, {4, 8, 1032, 0}};
    test_sizes(device, host, sizes, 14);
}

static void test_prefill(krn_cuda_context *device, krn_context *host) {
    static const size sizes[] = {{64, 64, 128, 0}, {65, 70, 256, 128}, {50, 130, 320, 64}, {70, 20, 200, 32},
                                 {49, 65, 100, 0}, {64, 33, 37, 0},    {50, 40, 800, 480}, {52, 24, 200, 96}};
    test_sizes(device, host, sizes, 8);
}

/* Float offsets, activation order, flattened groups, on both paths. */
static void test_options(krn_cuda_context *device, krn_context *host) {
    static const int32_t zero_types[] = {KRN_TYPE_F32, KRN_TYPE_F16, KRN_TYPE_BF16};
    static const int64_t group_sizes[] = {0, 32, 100, 128};
    for (int i = 0; i < 4 * 2 * 2 * 4; i++) {
        gemm_shape shape = {.format = formats[i % 4],
                            .activation_type = activation_types[i / 4 % 2],
                            .output_type = KRN_TYPE_F32,
                            .m = i / 8 % 2 == 0 ? 3 : 50,
                            .n = 40,
                            .k = 300,
                            .group_size = group_sizes[i / 16],
                            .slack = i % 3,
                            .seed = 700 + (uint64_t)i,
                            .zero_type = formats[i % 4] == KRN_TYPE_C4 ? 0 : zero_types[(i / 4 + i) % 3]};
        check(device, host, &shape);
        shape.ordered = i / 4 % 2;
        shape.flattened = shape.group_size == 100 && shape.ordered == 0;
        shape.k = shape.flattened ? 240 : 300; /* groups of 100 that cross rows are cut every 20 */
        check(device, host, &shape);
    }
}

/* So many channels that a decoding block has 32, and as many tokens as it takes for large tiles. */
static void test_large(krn_cuda_context *device, krn_context *host) {
    krn_cuda_properties properties = {.struct_size = sizeof properties};
    CHECK_OK(krn_cuda_context_properties(device, &properties));
    for (int i = 0; i < 8; i++) {
        gemm_shape shape = {.format = formats[i % 4],
                            .activation_type = activation_types[i / 4],
                            .output_type = output_types[i % 3],
                            .m = 2,
                            .n = 3800,
                            .k = 160,
                            .group_size = 64,
                            .has_bias = 1,
                            .seed = 800 + (uint64_t)i};
        check(device, host, &shape);
        shape.m = 128 * ((properties.multiprocessors + 2) / 3) - 7;
        shape.n = 3 * 128 - (i % 2 == 0 ? 20 : 70);
        shape.k = 70;
        shape.group_size = 32;
        check(device, host, &shape);
    }
}

static void test_nothing(krn_cuda_context *device, krn_context *host) {
    static const size sizes[] = {{0, 16, 32, 0}, {3, 0, 32, 0}, {3, 5, 0, 0}, {50, 5, 0, 0}};
    test_sizes(device, host, sizes, 4);
}

int main(void) {
    int32_t classes[4];
    const int count = cuda_classes(classes);
    krn_context *host = context_of(KRN_ISA_REF, 1);
    for (int i = 0; i < count; i++) {
        krn_cuda_context *device = cuda_context_of(classes[i]);
        CHECK(krn_cuda_gemm_supported(device, KRN_TYPE_S4, KRN_TYPE_BF16, 0) == 1, "W4A16");
        CHECK(krn_cuda_gemm_supported(device, KRN_TYPE_C4, KRN_TYPE_F16, 0) == 1, "NF4");
        CHECK(krn_cuda_gemm_supported(device, KRN_TYPE_S4, KRN_TYPE_F32, 0) == 0, "f32 has no products");
        CHECK(krn_cuda_gemm_supported(device, KRN_TYPE_C4, KRN_TYPE_BF16, KRN_TYPE_S8) == 0, "codebooks have no sums");
        test_decode(device, host);
        test_prefill(device, host);
        test_options(device, host);
        /* Large shapes take long in the emulator, and the kernels are the same for all classes. */
        if (i == 0)
            test_large(device, host);
        test_nothing(device, host);
        krn_cuda_context_destroy(device);
    }
    krn_context_destroy(host);
    return 0;
}
