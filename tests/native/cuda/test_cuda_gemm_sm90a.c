/* The prefill kernels of sm_90a against the reference of kernels_cpu, bit for bit: every format and every tile, over
 * ragged shapes, with rings that are walked more than once. Large tiles are chosen for small shapes because the device
 * says that it has one multiprocessor. */
#include "cuda_gemm_check.h"
#include "cuda_gemm_tile_check.h"

#include <stdio.h>

static const int32_t formats[] = {KRN_TYPE_S8, KRN_TYPE_S4, KRN_TYPE_U4};
static const int32_t activation_types[] = {KRN_TYPE_S8, KRN_TYPE_S8, KRN_TYPE_S4, KRN_TYPE_U8};
static const int32_t output_types[] = {KRN_TYPE_F32, KRN_TYPE_F16, KRN_TYPE_BF16};
static const int32_t scale_types[] = {0, KRN_TYPE_F16, KRN_TYPE_BF16, KRN_TYPE_U8};
static const int32_t zero_types[] = {0, 0, KRN_TYPE_F32, KRN_TYPE_F16};

typedef struct {
    int64_t m, n, k, group_size;
    int32_t tokens; /* of the tile that is expected */
} tile_case;

/* One group: tiles of 64, 128 and 256 tokens; less and more than a ring, of which the smallest has 4 stages of 128; one
 * tile, and several, for a block or, where they are short, for as many blocks. */
static const tile_case channel_cases[] = {
    {64, 128, 128, 0, 64},  {49, 200, 1700, 0, 64},  {60, 33, 37, 0, 64},     {100, 70, 1200, 0, 128},
    {128, 64, 256, 0, 128}, {250, 130, 700, 0, 256}, {256, 128, 640, 0, 256}, {150, 140, 100, 0, 64},
};

/* Groups of one, two and more steps of 32, that fill stages and that cross them, that end early and are filled up. */
static const tile_case group_cases[] = {
    {64, 128, 256, 128, 64},   {50, 130, 1700, 64, 64},   {49, 70, 200, 32, 64},     {62, 65, 400, 96, 64},
    {55, 40, 300, 40, 64},     {128, 128, 512, 128, 128}, {100, 190, 1250, 64, 128}, {127, 66, 800, 480, 128},
    {110, 64, 1300, 256, 128}, {90, 50, 333, 16, 128},    {150, 140, 500, 96, 64},
};

static void test_tiles(krn_cuda_context *device, krn_context *host, const tile_case *cases, int count) {
    for (int i = 0; i < count * 6; i++) {
        const tile_case *const c = &cases[i / 6];
        const int turn = i + i / 6;
        const gemm_shape shape = {.format = formats[i % 3],
                                  .activation_type = activation_types[turn % 4],
                                  .output_type = output_types[turn / 2 % 3],
                                  .m = c->m,
                                  .n = c->n,
                                  .k = c->k,
                                  .group_size = c->group_size,
                                  .has_bias = turn % 2,
                                  .has_residual = turn % 5 < 2,
                                  .residual_is_output = turn % 5 == 1,
                                  .slack = turn % 3 == 0 ? 0 : turn % 7,
                                  .seed = 600 + (uint64_t)i,
                                  .scale_type = scale_types[turn % 4],
                                  .zero_type = zero_types[(turn + i / 3) % 4],
                                  .ordered = c->group_size > 0 && turn % 7 == 3};
        const gemm_case made = gemm_case_make(&shape);
        check_tile(device, &shape, shape.m, c->tokens);
        cuda_gemm_check(device, host, &made);
    }
}

/* More tiles than blocks, and more than one block: ten tiles for four. */
static void test_walk(krn_cuda_context *device, krn_context *host) {
    device->properties.multiprocessors = 4;
    for (int i = 0; i < 6; i++) {
        const gemm_shape shape = {.format = formats[i % 3],
                                  .activation_type = KRN_TYPE_S8,
                                  .output_type = KRN_TYPE_F32,
                                  .m = 300,
                                  .n = 200,
                                  .k = 450,
                                  .group_size = i < 3 ? 0 : 64,
                                  .seed = 950 + (uint64_t)i};
        const gemm_case made = gemm_case_make(&shape);
        check_tile(device, &shape, shape.m, 64);
        cuda_gemm_check(device, host, &made);
    }
}

/* Scales so small that a sixteenth of them is not exact, and nothing beside them in the results. */
static void test_small_scales(krn_cuda_context *device, krn_context *host) {
    const gemm_shape shape = {.format = KRN_TYPE_S4,
                              .activation_type = KRN_TYPE_S8,
                              .output_type = KRN_TYPE_F32,
                              .m = 64,
                              .n = 64,
                              .k = 256,
                              .group_size = 128,
                              .seed = 900};
    gemm_case made = gemm_case_make(&shape);
    float *const scales = made.scales;
    for (int64_t i = 0; i < made.num_scales; i++)
        scales[i] *= 0x1p-121f;
    cuda_gemm_check(device, host, &made);
}

int main(void) {
    int32_t classes[4];
    if (classes[cuda_classes(classes) - 1] < KRN_CUDA_CLASS_SM90A) {
        printf("skipped: the device has no wgmma\n");
        return 77;
    }
    krn_context *host = context_of(KRN_ISA_REF, 1);
    krn_cuda_context *device = cuda_context_of(KRN_CUDA_CLASS_SM90A);
    device->properties.multiprocessors = 1;
    test_tiles(device, host, channel_cases, (int)(sizeof channel_cases / sizeof *channel_cases));
    test_tiles(device, host, group_cases, (int)(sizeof group_cases / sizeof *group_cases));
    test_small_scales(device, host);
    test_walk(device, host);
    krn_cuda_context_destroy(device);
    krn_context_destroy(host);
    return 0;
}
