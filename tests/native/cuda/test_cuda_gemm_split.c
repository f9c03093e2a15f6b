/* Products whose K is split between blocks, because channels are few and K is long: integer cells against the reference
 * of kernels_cpu, bit for bit, float cells against the exact value and against blocks with all of K. */
#include "cuda_gemm_check.h"
#include "cuda_gemm_float_check.h"
#include "gemm_oracle.h"

#include "cuda/common/context.h"
#include "cuda/gemm/gemm_heuristics.h"

#include <string.h>

static const int32_t formats[] = {KRN_TYPE_S8, KRN_TYPE_S4, KRN_TYPE_U4, KRN_TYPE_C4};
static const int32_t output_types[] = {KRN_TYPE_F32, KRN_TYPE_F16, KRN_TYPE_BF16};
static const int32_t scale_types[] = {0, KRN_TYPE_F16, KRN_TYPE_BF16, KRN_TYPE_U8};

typedef struct {
    int64_t m, n, k, group_size;
} size;

/* How many parts K has; of weights of 4 bits K is twice as long. */
static uint32_t splits_of(const krn_cuda_context *device, const gemm_shape *s, int32_t activation_type) {
    const krn_weights_desc desc = {
        .struct_size = sizeof desc, .format = s->format, .n = s->n, .k = s->k, .group_size = s->group_size};
    krn_cuda_weights_layout layout;
    krn_cuda_weights_place(&desc, 0, &layout);
    krn_cuda_gemm_plan plan;
    krn_cuda_gemm_make_plan(&layout, activation_type, s->m, &device->properties, device->architecture, &plan);
    CHECK(plan.is_split == (plan.blocks[2] > 1) && plan.is_split == (strstr(plan.kernel, "_split_") != NULL),
          "%s with %u parts", plan.kernel, plan.blocks[2]);
    return plan.blocks[2];
}

static gemm_shape shape_of(const size *s, int32_t format, int i) {
    return (gemm_shape){.format = format,
                        .activation_type = KRN_TYPE_S8,
                        .output_type = output_types[i % 3],
                        .m = s->m,
                        .n = s->n,
                        .k = format == KRN_TYPE_S8 ? s->k : 2 * s->k,
                        .group_size = s->group_size,
                        .has_bias = i % 2,
                        .has_residual = i % 5 < 2,
                        .residual_is_output = i % 5 == 1,
                        .slack = i % 3,
                        .seed = 1000 + (uint64_t)i,
                        .scale_type = s->group_size == 0 ? 0 : scale_types[i % 4]};
}

/* The last channels and the last slice are not all there; parts that end in the middle of groups, of groups that slices
 * divide, and of those that divide slices; more groups than the merging kernel takes at once. */
static void test_sizes(krn_cuda_context *device, krn_context *host) {
    static const size sizes[] = {{1, 17, 14336, 0},   {3, 96, 14336, 128}, {1, 256, 14336, 0},  {8, 5, 16400, 480},
                                 {9, 17, 14000, 256}, {16, 33, 14336, 0},  {1, 17, 14336, 32},  {2, 20, 15000, 1000},
                                 {1, 1, 30001, 0},    {7, 16, 14336, 160}, {1, 31, 14336, 7168}};
    for (int i = 0; i < 11 * 3; i++) {
        const gemm_shape shape = shape_of(&sizes[i / 3], formats[i % 3], i);
        CHECK(splits_of(device, &shape, KRN_TYPE_S8) > 1, "size %d is not split", i / 3);
        const gemm_case c = gemm_case_make(&shape);
        cuda_gemm_check(device, host, &c);
    }
}

/* Activations of 4 bits and unsigned ones, float offsets, activation order. */
static void test_options(krn_cuda_context *device, krn_context *host) {
    static const int32_t activation_types[] = {KRN_TYPE_S8, KRN_TYPE_S4, KRN_TYPE_U8};
    static const int32_t zero_types[] = {0, KRN_TYPE_F32, KRN_TYPE_F16, KRN_TYPE_BF16};
    static const size sizes[] = {{3, 20, 14400, 128}, {2, 17, 14400, 0}};
    for (int i = 0; i < 3 * 3 * 2; i++) {
        gemm_shape shape = shape_of(&sizes[i / 9], formats[i % 3], i);
        shape.activation_type = activation_types[i / 3 % 3];
        shape.zero_type = zero_types[(i / 3 + i) % 4];
        shape.ordered = i % 2 == 0 && shape.group_size != 0;
        CHECK(splits_of(device, &shape, shape.activation_type) > 1, "case %d is not split", i);
        const gemm_case c = gemm_case_make(&shape);
        cuda_gemm_check(device, host, &c);
    }
}

/* All products as large as they can be: sums of parts, and of all of them, just fit 32 bits. */
static void test_largest(krn_cuda_context *device, krn_context *host) {
    const gemm_shape shape = {.format = KRN_TYPE_S8,
                              .activation_type = KRN_TYPE_S8,
                              .output_type = KRN_TYPE_F32,
                              .m = 1,
                              .n = 3,
                              .k = 131040,
                              .seed = 1100};
    CHECK(splits_of(device, &shape, KRN_TYPE_S8) > 1, "not split");
    gemm_case c = gemm_case_make(&shape);
    memset(c.codes, 0x80, (size_t)(shape.n * shape.k));
    memset((void *)(uintptr_t)c.activations.data, 0x80, (size_t)shape.k);
    cuda_gemm_check(device, host, &c);
}

/* Activations that are quantized inside the call, with what is added beside the product: outlier columns of the
 * weights, those that are found, an adapter. */
static void test_side(krn_cuda_context *device, krn_context *host) {
    static const int32_t float_types[] = {KRN_TYPE_F32, KRN_TYPE_F16, KRN_TYPE_BF16};
    static const int32_t computes[] = {KRN_TYPE_S8, KRN_TYPE_U8, KRN_TYPE_S4};
    static const int32_t columns[] = {0, 3, 77, 14335};
    static const size sizes[] = {{2, 20, 14336, 128}, {5, 17, 14336, 0}};
    test_random random = {19};
    for (int i = 0; i < 9; i++) {
        gemm_shape shape = shape_of(&sizes[i % 2], formats[i % 3], i);
        shape.activation_type = float_types[i / 3];
        CHECK(splits_of(device, &shape, computes[i % 3]) > 1, "case %d is not split", i);
        const krn_lora lora = random_lora(&random, &shape);
        const krn_gemm_options options = {.struct_size = sizeof options,
                                          .compute = computes[i % 3],
                                          .outlier_threshold = i % 3 == 1 ? 20 : 0,
                                          .lora = i % 2 == 0 ? &lora : NULL};
        gemm_case c = gemm_case_make(&shape);
        c.options = &options;
        if (i % 3 == 0) {
            c.outlier_columns = columns;
            c.num_outliers = 4;
            c.outlier_type = KRN_TYPE_F32;
        }
        cuda_gemm_check(device, host, &c);
    }
}

/* Rows have the bits that they have among more of them, where no block has a part of K. */
static void test_floats(krn_cuda_context *device, krn_context *host) {
    static const int32_t zero_types[] = {KRN_TYPE_F32, KRN_TYPE_F16, KRN_TYPE_BF16};
    static const size sizes[] = {{2, 17, 14336, 128}, {17, 5, 14336, 0}, {2, 9, 15000, 480}, {9, 17, 14000, 0}};
    for (int i = 0; i < 4 * 8; i++) {
        gemm_shape shape = shape_of(&sizes[i / 8], formats[i % 4], i);
        shape.activation_type = i / 4 % 2 == 0 ? KRN_TYPE_BF16 : KRN_TYPE_F16;
        shape.zero_type = shape.format == KRN_TYPE_C4 || i % 3 == 0 ? 0 : zero_types[i / 4 % 3];
        shape.ordered = i % 5 == 0 && shape.group_size != 0;
        const int64_t few = shape.m == 17 ? 2 : 0;
        gemm_shape split = shape;
        split.m = few > 0 ? few : shape.m;
        CHECK(splits_of(device, &split, shape.activation_type) > 1, "case %d is not split", i);
        CHECK(few == 0 || splits_of(device, &shape, shape.activation_type) == 1, "case %d is split", i);
        cuda_gemm_float_check(device, host, &shape, few);
    }
}

int main(void) {
    int32_t classes[4];
    const int count = cuda_classes(classes);
    krn_context *host = context_of(KRN_ISA_REF, 1);
    for (int i = 0; i < count; i++) {
        krn_cuda_context *device = cuda_context_of(classes[i]);
        /* What is split depends on these, which are an H200's, whatever the device. */
        device->properties.multiprocessors = 132;
        device->properties.clock_khz = 1980000;
        device->properties.memory_clock_khz = 3201000;
        device->properties.memory_bus_bits = 6144;
        test_sizes(device, host);
        /* The kernels are the same for all classes. */
        if (i == 0) {
            test_options(device, host);
            test_largest(device, host);
            test_side(device, host);
            test_floats(device, host);
        }
        krn_cuda_context_destroy(device);
    }
    krn_context_destroy(host);
    return 0;
}
