/* The float cells of the GEMM on the device against the exact value in binary64, within the bound of cuda_gemm.h: every
 * format, option and path over ragged shapes; and that a row has the same bits on both paths, at any place, where both
 * multiply by the same instruction. */
#include "cuda_gemm_float_check.h"

#include "cuda/common/context.h"

static const int32_t formats[] = {KRN_TYPE_S8, KRN_TYPE_S4, KRN_TYPE_U4, KRN_TYPE_C4};
static const int32_t activation_types[] = {KRN_TYPE_BF16, KRN_TYPE_F16};
static const int32_t output_types[] = {KRN_TYPE_F32, KRN_TYPE_F16, KRN_TYPE_BF16};
static const int32_t scale_types[] = {0, KRN_TYPE_F16, KRN_TYPE_BF16, KRN_TYPE_U8};

static void check(krn_cuda_context *device, krn_context *host, const gemm_shape *shape) {
    /* On sm_90a many tokens go through wgmma, few through mma.sync. */
    const int is_same = device->architecture != KRN_CUDA_CLASS_SM90A;
    cuda_gemm_float_check(device, host, shape, shape->m > 16 && is_same ? 3 : 0);
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

/* A long K where a multiprocessor has several blocks: on a device with few of them, as above blocks that have one to
 * themselves have deep rings. */
static void test_shallow_rings(krn_cuda_context *device, krn_context *host) {
    const int32_t multiprocessors = device->properties.multiprocessors;
    device->properties.multiprocessors = 3;
    for (int i = 0; i < 8; i++) {
        const gemm_shape shape = {.format = formats[i % 4],
                                  .activation_type = activation_types[i / 4],
                                  .output_type = KRN_TYPE_F32,
                                  .m = 2,
                                  .n = 60,
                                  .k = 2600,
                                  .group_size = i % 2 == 0 ? 128 : 96,
                                  .seed = 680 + (uint64_t)i};
        check(device, host, &shape);
    }
    device->properties.multiprocessors = multiprocessors;
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
        test_shallow_rings(device, host);
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
