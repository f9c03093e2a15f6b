/* The integer cells of the GEMM on the device against the reference of kernels_cpu, bit for bit: every format, option
 * and path over ragged shapes. */
#include "cuda_gemm_check.h"

#include "cuda/common/context.h"

#include <string.h>

static const int32_t formats[] = {KRN_TYPE_S8, KRN_TYPE_S4, KRN_TYPE_U4};
static const int32_t output_types[] = {KRN_TYPE_F32, KRN_TYPE_F16, KRN_TYPE_BF16};
static const int32_t scale_types[] = {0, KRN_TYPE_F16, KRN_TYPE_BF16, KRN_TYPE_U8};

/* Few tokens: 8 and 16 to a block; N beyond a tile; groups that divide a slice of 128 inputs, that it divides, that
 * cross it, and that are filled up; chunks of a long K. */
static void test_decode(krn_cuda_context *device, krn_context *host) {
    static const struct {
        int64_t m, n, k, group_size;
    } shapes[] = {{1, 64, 128, 0},    {1, 16, 256, 128}, {8, 65, 512, 64},  {3, 33, 1000, 32}, {5, 20, 300, 0},
                  {16, 40, 384, 128}, {9, 70, 96, 16},   {2, 17, 400, 96},  {7, 48, 640, 256}, {1, 16, 100, 40},
                  {12, 5, 37, 0},     {1, 1, 1, 0},      {4, 32, 2080, 16}, {1, 16, 3000, 24}, {11, 36, 1100, 32},
                  {1, 20, 2100, 32},  {2, 16, 2400, 480}};
    for (int i = 0; i < 17 * 3; i++) {
        const gemm_shape shape = {.format = formats[i % 3],
                                  .activation_type = KRN_TYPE_S8,
                                  .output_type = output_types[i / 3 % 3],
                                  .m = shapes[i / 3].m,
                                  .n = shapes[i / 3].n,
                                  .k = shapes[i / 3].k,
                                  .group_size = shapes[i / 3].group_size,
                                  .has_bias = i % 2,
                                  .has_residual = i % 5 < 2,
                                  .residual_is_output = i % 5 == 1,
                                  .slack = i % 4 == 0 ? 0 : i % 7,
                                  .seed = (uint64_t)i,
                                  .scale_type = scale_types[i % 4]};
        const gemm_case c = gemm_case_make(&shape);
        cuda_gemm_check(device, host, &c);
    }
}

/* A long K where a multiprocessor has several blocks: on a device with few of them, as the shapes above are for blocks
 * that have one to themselves, and deep rings. */
static void test_shallow_rings(krn_cuda_context *device, krn_context *host) {
    const int32_t multiprocessors = device->properties.multiprocessors;
    device->properties.multiprocessors = 3;
    for (int i = 0; i < 6; i++) {
        const gemm_shape shape = {.format = formats[i % 3],
                                  .activation_type = KRN_TYPE_S8,
                                  .output_type = KRN_TYPE_F32,
                                  .m = 2,
                                  .n = 60,
                                  .k = 4200,
                                  .group_size = i < 3 ? 128 : 40,
                                  .seed = 60 + (uint64_t)i};
        const gemm_case c = gemm_case_make(&shape);
        cuda_gemm_check(device, host, &c);
    }
    device->properties.multiprocessors = multiprocessors;
}

/* Many tokens: tiles of both sizes (large ones need many blocks: see test_large_tiles). */
static void test_prefill(krn_cuda_context *device, krn_context *host) {
    static const struct {
        int64_t m, n, k, group_size;
    } shapes[] = {{64, 64, 128, 0}, {65, 70, 256, 128}, {50, 130, 320, 64},  {100, 20, 200, 32},
                  {49, 65, 100, 0}, {70, 64, 96, 16},   {51, 100, 800, 480}, {64, 33, 37, 0}};
    for (int i = 0; i < 8 * 3; i++) {
        const gemm_shape shape = {.format = formats[i % 3],
                                  .activation_type = KRN_TYPE_S8,
                                  .output_type = output_types[(i / 3 + i) % 3],
                                  .m = shapes[i / 3].m,
                                  .n = shapes[i / 3].n,
                                  .k = shapes[i / 3].k,
                                  .group_size = shapes[i / 3].group_size,
                                  .has_bias = i % 2,
                                  .has_residual = i % 5 < 2,
                                  .residual_is_output = i % 5 == 1,
                                  .slack = i % 3 == 0 ? 0 : i % 7,
                                  .seed = 100 + (uint64_t)i,
                                  .scale_type = scale_types[i % 4]};
        const gemm_case c = gemm_case_make(&shape);
        cuda_gemm_check(device, host, &c);
    }
}

/* Activations of 4 bits and unsigned ones, float offsets, activation order, flattened groups, on both paths. */
static void test_options(krn_cuda_context *device, krn_context *host) {
    static const int32_t activation_types[] = {KRN_TYPE_S8, KRN_TYPE_S4, KRN_TYPE_U8};
    static const int32_t zero_types[] = {0, KRN_TYPE_F32, KRN_TYPE_F16, KRN_TYPE_BF16};
    static const int64_t group_sizes[] = {0, 32, 100, 128};
    for (int i = 0; i < 3 * 3 * 2 * 4; i++) {
        gemm_shape shape = {.format = formats[i % 3],
                            .activation_type = activation_types[i / 3 % 3],
                            .output_type = KRN_TYPE_F32,
                            .m = i / 9 % 2 == 0 ? 3 : 50,
                            .n = 40,
                            .k = 300,
                            .group_size = group_sizes[i / 18],
                            .slack = i % 2,
                            .seed = 200 + (uint64_t)i,
                            .zero_type = zero_types[(i / 3 + i) % 4]};
        gemm_case c = gemm_case_make(&shape);
        cuda_gemm_check(device, host, &c);
        shape.ordered = i % 2;
        shape.flattened = shape.group_size == 100 && shape.ordered == 0;
        shape.k = shape.flattened ? 240 : 300; /* groups of 100 that cross rows are cut every 20 */
        c = gemm_case_make(&shape);
        cuda_gemm_check(device, host, &c);
    }
}

/* As many blocks as the device has multiprocessors, so that the large tiles are chosen. */
static void test_large_tiles(krn_cuda_context *device, krn_context *host) {
    krn_cuda_properties properties = {.struct_size = sizeof properties};
    CHECK_OK(krn_cuda_context_properties(device, &properties));
    const int64_t m = 128 * ((properties.multiprocessors + 2) / 3) - 7;
    for (int i = 0; i < 3; i++) {
        const gemm_shape shape = {.format = formats[i],
                                  .activation_type = KRN_TYPE_S8,
                                  .output_type = output_types[i],
                                  .m = m,
                                  .n = 3 * 128 - (i == 0 ? 20 : 70), /* half of the last tile is there, or less */
                                  .k = 70,
                                  .group_size = 0,
                                  .has_bias = 1,
                                  .seed = 300 + (uint64_t)i};
        gemm_shape grouped = shape;
        grouped.group_size = 32;
        gemm_case c = gemm_case_make(&shape);
        cuda_gemm_check(device, host, &c);
        c = gemm_case_make(&grouped);
        cuda_gemm_check(device, host, &c);
    }
}

/* So many channels that 32 of them to a block are enough blocks. */
static void test_wide(krn_cuda_context *device, krn_context *host) {
    for (int i = 0; i < 6; i++) {
        const gemm_shape shape = {.format = formats[i % 3],
                                  .activation_type = KRN_TYPE_S8,
                                  .output_type = output_types[i % 3],
                                  .m = i < 3 ? 1 : 7,
                                  .n = 3800,
                                  .k = 160,
                                  .group_size = i < 3 ? 64 : 0,
                                  .has_bias = 1,
                                  .seed = 350 + (uint64_t)i};
        const gemm_case c = gemm_case_make(&shape);
        cuda_gemm_check(device, host, &c);
    }
}

/* Groups longer than the kernels sum at once, all products as large as they can be: of 8-bit codes the sums do not fit
 * 32 bits. */
static void test_long(krn_cuda_context *device, krn_context *host) {
    static const int32_t activation_types[] = {KRN_TYPE_S8, KRN_TYPE_U8};
    static const int largest[] = {0x80, 0x88, 0xFF}; /* bytes of codes of each format */
    for (int i = 0; i < 3 * 4; i++) {
        const int format = i / 4;
        const int is_grouped = i / 2 % 2;
        const gemm_shape shape = {.format = formats[format],
                                  .activation_type = activation_types[i % 2],
                                  .output_type = KRN_TYPE_F32,
                                  .m = 1,
                                  .n = 3,
                                  .k = is_grouped ? 290000 : 140001,
                                  .group_size = is_grouped ? 141000 : 0,
                                  .seed = 400 + (uint64_t)i};
        gemm_case c = gemm_case_make(&shape);
        const int64_t row_bytes = format == 0 ? shape.k : (shape.k + 1) / 2;
        memset(c.codes, largest[format], (size_t)(shape.n * row_bytes));
        memset((void *)(uintptr_t)c.activations.data, i % 2 == 0 ? 0x80 : 0xFF, (size_t)shape.k);
        if (i % 2 == 1)
            memset((void *)(uintptr_t)c.activations.zero_points, 0, 4);
        cuda_gemm_check(device, host, &c);
    }
}

static void test_nothing(krn_cuda_context *device, krn_context *host) {
    static const int64_t shapes[][3] = {{0, 16, 32}, {3, 0, 32}, {3, 5, 0}, {50, 5, 0}};
    for (int i = 0; i < 4; i++) {
        const gemm_shape shape = {.format = KRN_TYPE_S4,
                                  .activation_type = KRN_TYPE_S8,
                                  .output_type = KRN_TYPE_F32,
                                  .m = shapes[i][0],
                                  .n = shapes[i][1],
                                  .k = shapes[i][2],
                                  .has_bias = 1};
        const gemm_case c = gemm_case_make(&shape);
        cuda_gemm_check(device, host, &c);
    }
}

int main(void) {
    int32_t classes[4];
    const int count = cuda_classes(classes);
    krn_context *host = context_of(KRN_ISA_REF, 1);
    for (int i = 0; i < count; i++) {
        krn_cuda_context *device = cuda_context_of(classes[i]);
        test_decode(device, host);
        test_shallow_rings(device, host);
        test_prefill(device, host);
        test_options(device, host);
        test_large_tiles(device, host);
        test_wide(device, host);
        test_long(device, host);
        test_nothing(device, host);
        krn_cuda_context_destroy(device);
    }
    krn_context_destroy(host);
    return 0;
}
