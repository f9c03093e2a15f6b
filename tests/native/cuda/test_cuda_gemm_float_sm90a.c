/* The float prefill kernels of sm_90a against the exact value in binary64, within the bound of cuda_gemm.h: every
 * format, both types of activations and both tiles, over ragged shapes, with rings that are walked more than once; and
 * that the rows of a batch have the same bits in a tile of the other size. Large tiles are chosen for small shapes
 * because the device says that it has one multiprocessor. */
#include "cuda_gemm_float_check.h"
#include "cuda_gemm_tile_check.h"

#include <stdio.h>

static const int32_t formats[] = {KRN_TYPE_S8, KRN_TYPE_S4, KRN_TYPE_U4, KRN_TYPE_C4};
static const int32_t activation_types[] = {KRN_TYPE_BF16, KRN_TYPE_F16};
/* Sums of more than 600 inputs do not fit f16. */
static const int32_t output_types[] = {KRN_TYPE_F32, KRN_TYPE_BF16, KRN_TYPE_F16};
static const int32_t scale_types[] = {0, KRN_TYPE_F16, KRN_TYPE_BF16, KRN_TYPE_U8};
static const int32_t zero_types[] = {0, 0, KRN_TYPE_F32, KRN_TYPE_F16};

typedef struct {
    int64_t m, n, k, group_size;
    int32_t tokens; /* of the tile that is expected */
} tile_case;

/* Blocks of 128 inputs that fill stages and that cross them, whole groups of 1 to 15 steps, that end early and are
 * filled up; less and more than a ring, of which the smallest has 4 stages of 128 inputs and the largest 8; one tile,
 * and several, for a block or, where they are short, for as many blocks. */
static const tile_case cases[] = {
    {64, 128, 128, 0, 64},     {49, 70, 1300, 0, 64},  {17, 33, 37, 0, 64},      {50, 130, 1100, 64, 64},
    {62, 65, 400, 96, 64},     {33, 40, 300, 40, 64},  {100, 70, 520, 128, 128}, {128, 64, 256, 32, 128},
    {127, 190, 700, 256, 128}, {90, 50, 333, 16, 128}, {110, 66, 800, 480, 128}, {81, 20, 900, 192, 128},
};

static void test_tiles(krn_cuda_context *device, krn_context *host) {
    enum { FEW = 20 };
    const int count = (int)(sizeof cases / sizeof *cases);
    for (int i = 0; i < count * 8; i++) {
        const tile_case *const c = &cases[i / 8];
        const int turn = i + i / 8;
        const int32_t format = formats[i % 4];
        const gemm_shape shape = {.format = format,
                                  .activation_type = activation_types[i / 4 % 2],
                                  .output_type = output_types[turn % (c->k > 600 ? 2 : 3)],
                                  .m = c->m,
                                  .n = c->n,
                                  .k = c->k,
                                  .group_size = c->group_size,
                                  .has_bias = turn % 2,
                                  .has_residual = turn % 5 < 2,
                                  .residual_is_output = turn % 5 == 1,
                                  .slack = turn % 3 == 0 ? 0 : turn % 7,
                                  .seed = 900 + (uint64_t)i,
                                  .scale_type = scale_types[turn % 4],
                                  .zero_type = format == KRN_TYPE_C4 ? 0 : zero_types[(turn + i / 4) % 4],
                                  .ordered = c->group_size > 0 && turn % 7 == 3};
        check_tile(device, &shape, c->m, c->tokens);
        check_tile(device, &shape, FEW, 64);
        cuda_gemm_float_check(device, host, &shape, c->tokens == 128 && i % 3 == 0 ? FEW : 0);
    }
}

/* More tiles than blocks, and more than one block: ten tiles for four. */
static void test_walk(krn_cuda_context *device, krn_context *host) {
    device->properties.multiprocessors = 4;
    for (int i = 0; i < 4; i++) {
        const gemm_shape shape = {.format = formats[i],
                                  .activation_type = activation_types[i % 2],
                                  .output_type = KRN_TYPE_F32,
                                  .m = 300,
                                  .n = 140,
                                  .k = 300,
                                  .group_size = i % 2 == 0 ? 0 : 64,
                                  .seed = 1100 + (uint64_t)i};
        check_tile(device, &shape, shape.m, 64);
        cuda_gemm_float_check(device, host, &shape, 0);
    }
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
    test_tiles(device, host);
    test_walk(device, host);
    krn_cuda_context_destroy(device);
    krn_context_destroy(host);
    return 0;
}
